// BokehJS puts its styles into elements in the roots of what it draws. The policy of the
// page lets in those that have its nonce, and no others.

const { nonce } = document.querySelector("link[rel=stylesheet]");
const create = document.createElement;

document.createElement = (...words) => {
  const made = create.apply(document, words);
  if (made instanceof HTMLStyleElement) made.nonce = nonce;
  return made;
};
