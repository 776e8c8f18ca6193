// How a run, or a case of it, is run again: by a command, where it was started. The code
// and the environment of a run are there, and no coordinator has them.

import { el, setText } from "./dom.js";
import { plain, short } from "./format.js";

const PROGRAM = "client.run_cases";

// Choices are {words, options}: options of `dtf rerun`.
export function again(run, choices) {
  const summary = el("summary", {}, "Run again");
  if (run.command[0] === PROGRAM) {
    return el("details", {}, summary, el("p", { class: "note" }, `It was started by a program, with ${PROGRAM}: that runs it again.`));
  }
  const folder = folderOf(run);
  const where = `Where it was started (${short(folder, 120)} there): that is where its code and its environment are. It is a run of its own, and appears here.`;
  const rows = choices.map(({ words, options }) => row(words, commandOf(run, options)));
  return el("details", {}, summary, el("p", { class: "note" }, where), rows);
}

function row(words, command) {
  if (plain(command) !== command) {
    return el("p", { class: "note" }, `For ${words} no command is shown: its name holds what a terminal would act on. A part of the name is enough for dtf rerun --case.`);
  }
  const code = el("code", { tabindex: "0", "aria-label": `Command: ${words}` }, command);
  const copy = el("button", { type: "button", "aria-label": `Copy the command: ${words}` }, "Copy");
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(command);
      setText(copy, "Copied");
    } catch {
      getSelection().selectAllChildren(code);
      setText(copy, "Selected");
    }
  });
  return el("p", { class: "command" }, el("span", {}, words), code, copy);
}

function folderOf(run) {
  const below = run.policy.cwd;
  return below && below !== "." ? `${run.rootdir}/${below}` : run.rootdir;
}

// As a shell reads it, whatever is in the names. Pure.
export function commandOf(run, options) {
  return ["cd", folderOf(run), "&&", "dtf", "rerun", run.run, ...options].map((one) => (one === "&&" ? one : quoted(one))).join(" ");
}

function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
