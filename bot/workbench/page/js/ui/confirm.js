/** The confirm dialog that an element may ask for before it is used. */

import { h } from "../dom.js";
import { plain, textObject } from "../text/render.js";

/** Resolves to whether the person went ahead. */
export function confirmDialog(app, confirm) {
  return new Promise((resolve) => {
    const yes = h("button", { type: "button", class: `btn ${confirm.style === "danger" ? "btn-danger" : "btn-primary"}`, on: { click: () => finish(true) } },
      plain(confirm.confirm?.text ?? "Yes"));
    const no = h("button", { type: "button", class: "btn", on: { click: () => finish(false) } }, plain(confirm.deny?.text ?? "Cancel"));
    const dialog = h("dialog", { class: "dialog dialog-small", "aria-labelledby": "confirm-title", on: { cancel: (event) => { event.preventDefault(); finish(false); } } },
      h("h2", { class: "dialog-title", id: "confirm-title" }, plain(confirm.title?.text ?? "Are you sure?")),
      h("div", { class: "dialog-body" }, textObject(app, confirm.text)),
      h("div", { class: "dialog-foot" }, no, yes));
    function finish(answer) {
      dialog.close();
      dialog.remove();
      resolve(answer);
    }
    document.body.append(dialog);
    dialog.showModal();
    yes.focus();
  });
}
