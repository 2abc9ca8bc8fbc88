/** The modal: a stack of the bot's views in one dialog; a view that is updated keeps what was typed into it. */

import { anyPopoverOpen } from "./popover.js";
import { drawBlocks } from "../blocks/index.js";
import { Form } from "../elements/form.js";
import { h, replaceChildren } from "../dom.js";
import { icon, mark } from "../icons.js";
import { plain } from "../text/render.js";
import { setInputError } from "../blocks/input.js";
import { problems } from "./validate.js";

/** The views that belong to the newest root, oldest first: a bot may open a second modal over the first. */
export function stackOf(views) {
  const root = views.at(-1)?.root_view_id ?? views.at(-1)?.id;
  return views.filter((view) => (view.root_view_id ?? view.id) === root);
}

export function modals(app) {
  const dialog = h("dialog", {
    class: "dialog modal", "aria-labelledby": "modal-title",
    on: {
      cancel: (event) => { event.preventDefault(); if (!anyPopoverOpen()) leave(); },
      pointerdown: (event) => { if (event.target === dialog) leave(); },
    },
  });
  const pages = new Map(); // view id -> {node, form, update(view)}
  let top = null;
  document.body.append(dialog);

  function page({ id, state }) {
    const form = new Form(state?.values);
    const title = h("h2", { class: "dialog-title" });
    const banner = h("p", { class: "modal-banner", role: "alert", hidden: true });
    const body = h("div", { class: "blocks" });
    const back = h("button", { type: "button", class: "btn", on: { click: () => leave() } });
    const submit = h("button", { type: "submit", class: "btn btn-primary" });
    const node = h("form", { class: "modal-page", novalidate: true, on: { submit: send } },
      h("header", { class: "dialog-head" }, mark(26), title, h("button", { type: "button", class: "icon-btn", "aria-label": "Close", on: { click: () => leave({ all: true }) } }, icon("close"))),
      h("div", { class: "dialog-body" }, banner, body),
      h("footer", { class: "dialog-foot" }, back, submit));
    let view = null;

    function update(next) {
      view = next;
      replaceChildren(title, plain(view.title?.text ?? ""));
      replaceChildren(back, plain(view.close?.text ?? (view.submit ? "Cancel" : "Close")));
      submit.hidden = !view.submit;
      if (view.submit) replaceChildren(submit, h("span", { class: "btn-label" }, plain(view.submit.text)));
      drawBlocks(body, view.blocks ?? [], {
        app, form,
        dispatch: (block, element, value) => app.act({
          container: { type: "view", view_id: id }, block_id: block.block_id, action_id: element.action_id, type: element.type, ...value, state: { values: form.toJSON() },
        }),
      });
      form.keepOnly(new Set((view.blocks ?? []).map((block) => block.block_id)));
      if (!view.blocks?.length) replaceChildren(body, h("div", { class: "modal-loading", role: "status" }, h("span", { class: "spinner" }), "Loading…"));
    }

    function showErrors(errors) {
      let first = null;
      for (const input of body.querySelectorAll(".input")) {
        const message = errors[input.dataset.block];
        setInputError(input, message);
        if (message) first ??= input;
      }
      first?.querySelector(".field, .combo, .tick")?.focus();
      first?.scrollIntoView({ block: "nearest" });
    }

    async function send(event) {
      event.preventDefault();
      if (node.getAttribute("aria-busy") === "true" || !view.submit) return;
      const found = problems(view.blocks, form);
      showErrors(found);
      banner.hidden = true;
      if (Object.keys(found).length) return;
      busy(true);
      const answer = await app.submitView(id, form.toJSON());
      busy(false);
      if (answer.errors) showErrors(answer.errors);
      else if (!answer.ok) {
        banner.textContent = answer.error ?? "The app did not answer. Please try again.";
        banner.hidden = false;
      }
    }

    function busy(on) {
      node.setAttribute("aria-busy", String(on));
      submit.setAttribute("aria-busy", String(on));
    }

    return { node, form, update };
  }

  /** Closes the view on top, and the one below it, if any, comes back; or, by the cross, the whole stack. */
  function leave({ all = false } = {}) {
    if (top) app.closeView(all ? stackOf(app.store.views).map((view) => view.id) : [top]);
  }

  function draw() {
    const stack = stackOf(app.store.views);
    for (const [id, { node }] of pages) {
      if (app.store.views.some((view) => view.id === id)) continue;
      node.remove();
      pages.delete(id);
    }
    const current = stack.at(-1);
    const before = top;
    top = current?.id ?? null;
    if (!current) {
      if (dialog.open) dialog.close();
      return;
    }
    for (const view of stack) {
      if (!pages.has(view.id)) {
        pages.set(view.id, page(view));
        dialog.append(pages.get(view.id).node);
      }
      pages.get(view.id).update(view);
      pages.get(view.id).node.hidden = view.id !== top;
      pages.get(view.id).node.querySelector(".dialog-title").id = view.id === top ? "modal-title" : "";
    }
    if (!dialog.open) dialog.showModal();
    if (before !== top) focusFirst(pages.get(top).node);
  }

  function focusFirst(node) {
    (node.querySelector("[data-autofocus]") ?? node.querySelector(".input .field, .input .combo, .input .tick, .blocks .btn, .btn-primary:not([hidden])") ?? node.querySelector(".dialog-foot .btn"))?.focus();
  }

  app.store.on("views ready", draw);
  return dialog;
}
