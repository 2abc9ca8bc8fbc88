/** rich_text: the structured text that Slack's own composer writes. */

import { broadcast, channelMention, dateNode, externalLink, groupMention, textNodes, userMention } from "../text/render.js";
import { emoji } from "../text/emoji.js";
import { h } from "../dom.js";
import { safeHref } from "../text/mrkdwn.js";

function styled(style, nodes) {
  let inside = nodes;
  if (style?.code) inside = [h("code", { class: "code" }, inside)];
  if (style?.strike) inside = [h("s", {}, inside)];
  if (style?.italic) inside = [h("em", {}, inside)];
  if (style?.underline) inside = [h("u", {}, inside)];
  if (style?.bold) inside = [h("strong", {}, inside)];
  return inside;
}

const lines = (text) => text.split("\n").flatMap((line, at) => (at ? [h("br"), ...textNodes(line)] : textNodes(line)));

function leaf(app, element) {
  switch (element.type) {
    case "text": return lines(element.text);
    case "emoji": return [emoji(element.name)];
    case "link": {
      const href = safeHref(element.url);
      return [href ? externalLink(href, element.text || element.url) : element.text || element.url];
    }
    case "user": return [userMention(app, element.user_id)];
    case "channel": return [channelMention(app, element.channel_id)];
    case "usergroup": return [groupMention(app, element.usergroup_id)];
    case "broadcast": return [broadcast(element.range)];
    case "date": return [dateNode({ ts: element.timestamp, pattern: element.format, href: element.url && safeHref(element.url), fallback: element.fallback ?? "" })];
    case "color": return [h("span", { class: "swatch", vars: { "--swatch": element.value } }), element.value];
    default: return [];
  }
}

const run = (app, elements) => elements.flatMap((element) => styled(element.style, leaf(app, element)));

function part(app, element) {
  switch (element.type) {
    case "rich_text_section": return h("p", { class: "para" }, run(app, element.elements));
    case "rich_text_quote": return h("blockquote", { class: "quote" }, run(app, element.elements));
    case "rich_text_preformatted":
      return h("pre", { class: "pre" }, element.elements.map((entry) => entry.text ?? entry.url ?? ""));
    case "rich_text_list":
      return h(element.style === "ordered" ? "ol" : "ul",
        { class: `list indent-${Math.min(element.indent ?? 0, 6)}`, start: element.style === "ordered" && element.offset ? element.offset + 1 : null },
        element.elements.map((item) => h("li", {}, run(app, item.elements))));
    default: return null;
  }
}

export const richText = (block, ctx) => h("div", { class: "block rich" }, block.elements.map((element) => part(ctx.app, element)));
