/** The pager: what it asks of whom, with the answers a person could give in PagerDuty. */

import { ago, clock, full } from "../time.js";
import { h, reconcile } from "../dom.js";

const OPEN = new Set(["triggered", "acknowledged"]);
const SHOWN = 8;

/** Seconds since the epoch, from a number or an ISO date. */
const seconds = (at) => (typeof at === "number" ? at : Date.parse(at) / 1000);

export function pages(app, count) {
  const node = h("div", { class: "pages" });
  const opened = new Set();

  function action(page, what, label, style) {
    const button = h("button", {
      type: "button", class: `btn btn-small${style ? ` btn-${style}` : ""}`, dataset: { focus: `page/${page.id}/${what}`, page: what },
      on: {
        click: async () => {
          button.setAttribute("aria-busy", "true");
          await app.page(page.id, what);
          button.removeAttribute("aria-busy");
        },
      },
    }, h("span", { class: "btn-label" }, label));
    return button;
  }

  function item(page) {
    const person = app.store.users.get(page.assigned_to)?.real_name ?? page.assigned_to;
    const log = h("details", { class: "page-log", open: opened.has(page.id) },
      h("summary", { dataset: { focus: `page/${page.id}/log` } }, `${page.log.length} ${page.log.length === 1 ? "entry" : "entries"}`),
      h("ol", {}, page.log.map((entry) => h("li", {}, h("time", { title: full(seconds(entry.at)) }, clock(seconds(entry.at))), " ", entry.what))));
    log.addEventListener("toggle", () => (log.open ? opened.add(page.id) : opened.delete(page.id)));
    return h("article", { class: "page", dataset: { status: page.status, id: page.id } },
      h("header", {}, h("span", { class: "page-status" }, page.status), page.urgency === "low" && h("span", { class: "page-urgency" }, "low urgency"), h("time", { class: "page-age", title: full(seconds(page.created_at)) }, ago(seconds(page.created_at)))),
      h("p", { class: "page-title" }, page.title),
      person && h("p", { class: "page-who" }, "Assigned to ", h("strong", {}, person)),
      h("div", { class: "page-actions" },
        page.status === "triggered" && action(page, "acknowledge", "Acknowledge", "primary"),
        OPEN.has(page.status) && action(page, "resolve", "Resolve"),
        page.status === "resolved" && action(page, "reopen", "Reopen")),
      log);
  }

  return {
    node,
    draw(panel) {
      const open = panel.pages.filter((page) => page.status === "triggered").length;
      count.hidden = !open;
      count.textContent = String(open);
      const rank = (page) => (OPEN.has(page.status) ? 0 : 1);
      const shown = [...panel.pages].sort((a, b) => rank(a) - rank(b) || seconds(b.created_at) - seconds(a.created_at)).slice(0, SHOWN);
      const empty = { key: "empty", sig: "", make: () => h("p", { class: "fleet-empty" }, "Nobody is being paged.") };
      reconcile(node, shown.length
        ? shown.map((page) => ({ key: page.id, sig: JSON.stringify([page, app.store.users.size, ago(seconds(page.created_at))]), make: () => item(page) }))
        : [empty]);
    },
  };
}
