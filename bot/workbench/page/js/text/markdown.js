/** Draws standard Markdown, as Slack's `markdown` block takes it: a plain, safe subset without raw HTML. */

import { h } from "../dom.js";
import { emoji, isEmoji } from "./emoji.js";
import { safeHref } from "./mrkdwn.js";
import { externalLink, textNodes } from "./render.js";

const INLINE = new RegExp(
  [
    "(?<escaped>\\\\[\\\\`*_{}\\[\\]()#+\\-.!~>|])",
    "(?<code>`+[^`]+`+)",
    "!?\\[(?<label>[^\\]]*)\\]\\((?<href>[^\\s)]+)(?:\\s+\"[^\"]*\")?\\)",
    "<(?<auto>https?://[^>\\s]+)>",
    "(?<bare>https?://[^\\s<>`*]*[^\\s<>`*.,;:!?'\")\\]])",
    "\\*\\*(?<bold>(?:[^*]|\\*(?!\\*))+)\\*\\*",
    "(?<![\\p{L}\\p{N}])__(?<bold2>[^_]+)__(?![\\p{L}\\p{N}])",
    "~~(?<strike>[^~]+)~~",
    "\\*(?<italic>[^*\\s](?:[^*]*[^*\\s])?)\\*",
    "(?<![\\p{L}\\p{N}])_(?<italic2>[^_]+)_(?![\\p{L}\\p{N}])",
    ":(?<emoji>[a-z0-9_+-]+):",
  ].join("|"),
  "giu",
);

function span(text) {
  const nodes = [];
  let last = 0;
  for (const match of text.matchAll(INLINE)) {
    nodes.push(...textNodes(text.slice(last, match.index)));
    nodes.push(token(match));
    last = match.index + match[0].length;
  }
  nodes.push(...textNodes(text.slice(last)));
  return nodes;
}

function token({ 0: whole, groups }) {
  if (groups.escaped) return groups.escaped[1];
  if (groups.code) return h("code", { class: "code" }, groups.code.replace(/^`+ ?| ?`+$/g, ""));
  const address = groups.href ?? groups.auto ?? groups.bare;
  if (address) {
    const href = safeHref(address);
    return href ? externalLink(href, groups.label ? span(groups.label) : address) : whole;
  }
  const bold = groups.bold ?? groups.bold2;
  if (bold) return h("strong", {}, span(bold));
  if (groups.strike) return h("s", {}, span(groups.strike));
  const italic = groups.italic ?? groups.italic2;
  if (italic) return h("em", {}, span(italic));
  if (groups.emoji && isEmoji(groups.emoji)) return emoji(groups.emoji);
  return whole;
}

function lines(rows) {
  return rows.flatMap((row, index) => (index ? [h("br"), ...span(row)] : span(row)));
}

const ITEM = /^(\s*)([-*+]|\d{1,3}[.)])\s+(.*)$/;
const TABLE_RULE = /^\s*\|?\s*:?-{2,}:?\s*(\|\s*:?-{2,}:?\s*)*\|?\s*$/;

const cells = (row) => row.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());

function table(rows) {
  const [head, , ...body] = rows;
  return h("div", { class: "table-scroll" }, h("table", { class: "table" },
    h("thead", {}, h("tr", {}, cells(head).map((cell) => h("th", { scope: "col" }, span(cell))))),
    h("tbody", {}, body.map((row) => h("tr", {}, cells(row).map((cell) => h("td", {}, span(cell))))))));
}

/** A run of list lines to nested lists, by indentation. */
function list(rows) {
  const ordered = /\d/.test(rows[0].match(ITEM)[2]);
  const root = h(ordered ? "ol" : "ul", { class: "list" });
  const indent = rows[0].match(ITEM)[1].length;
  let at = 0;
  while (at < rows.length) {
    const text = rows[at].match(ITEM)[3];
    const task = text.match(/^\[([ xX])\]\s+(.*)$/);
    const item = h("li", { class: task ? "task" : null },
      task ? [h("input", { type: "checkbox", disabled: true, checked: task[1] !== " ", "aria-label": task[1] === " " ? "open" : "done" }), span(task[2])] : span(text));
    at += 1;
    const nested = [];
    while (at < rows.length && rows[at].match(ITEM)[1].length > indent) nested.push(rows[at++]);
    if (nested.length) item.append(list(nested));
    root.append(item);
  }
  return root;
}

/** The blocks of a Markdown text. */
export function markdown(text) {
  const root = h("div", { class: "markdown" });
  const rows = text.replace(/\r\n?/g, "\n").split("\n");
  const take = (start, rule) => {
    let end = start;
    while (end < rows.length && rule(rows[end])) end += 1;
    return end;
  };
  let at = 0;
  while (at < rows.length) {
    const row = rows[at];
    const fence = row.match(/^\s*(```|~~~)/);
    const heading = row.match(/^(#{1,6})\s+(.*?)\s*#*$/);
    let end = at + 1;
    if (fence) {
      end = take(at + 1, (line) => !line.trim().startsWith(fence[1]));
      root.append(h("pre", { class: "pre" }, rows.slice(at + 1, end).join("\n")));
      end += 1;
    } else if (heading) {
      root.append(h(`h${Math.min(6, heading[1].length + 2)}`, { class: `md-h md-h${heading[1].length}` }, span(heading[2])));
    } else if (/^\s*([-*_])(\s*\1){2,}\s*$/.test(row)) {
      root.append(h("hr", { class: "rule" }));
    } else if (/^\s*>/.test(row)) {
      end = take(at, (line) => /^\s*>/.test(line));
      const quote = markdown(rows.slice(at, end).map((line) => line.replace(/^\s*> ?/, "")).join("\n"));
      root.append(h("blockquote", { class: "quote" }, ...quote.childNodes));
    } else if (row.includes("|") && TABLE_RULE.test(rows[at + 1] ?? "")) {
      end = take(at, (line) => line.includes("|"));
      root.append(table(rows.slice(at, end)));
    } else if (ITEM.test(row)) {
      end = take(at, (line) => ITEM.test(line));
      root.append(list(rows.slice(at, end)));
    } else if (row.trim()) {
      end = take(at + 1, (line) => line.trim() && !ITEM.test(line) && !/^\s*(>|```|~~~|#{1,6}\s)/.test(line));
      root.append(h("p", { class: "para" }, lines(rows.slice(at, end))));
    }
    at = end;
  }
  return root;
}
