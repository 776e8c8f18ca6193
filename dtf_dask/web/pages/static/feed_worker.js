// One line to the node for all pages of this browser: browsers open no more than six to
// one place, and each page would keep one.

import { Link } from "./link.js";

const pages = new Set();
const link = new Link((told) => {
  for (const page of pages) page.postMessage(told);
});

self.onconnect = ({ ports: [page] }) => {
  pages.add(page);
  page.onmessage = ({ data }) => {
    if (data === "bye") pages.delete(page);
  };
  page.postMessage(link.state());
};
