/**
 * Parses Slack's mrkdwn into a small tree; knows nothing of the DOM.
 *
 * Inline nodes: {t:"text",v} {t:"br"} {t:"code",v} {t:"bold"|"italic"|"strike",c:[...]} {t:"emoji",name}
 * {t:"link",href,label?} {t:"user",id,label?} {t:"channel",id,label?} {t:"group",id,label?}
 * {t:"broadcast",range} {t:"date",ts,pattern,href?,fallback}.
 * Block nodes: {t:"p",c} {t:"pre",v} {t:"quote",c:[blocks]} {t:"list",ordered,start,items:[inline[]]}.
 *
 * Rules: https://docs.slack.dev/messaging/formatting-message-text
 */

/** Slack escapes exactly these three. */
export function unescape(text) {
  return text.replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");
}

/** Only addresses a browser may open by a click; anything else (javascript:, data:) stays text. */
export function safeHref(address) {
  const text = unescape(address).trim();
  return /^(https?:\/\/|mailto:|tel:)/i.test(text) ? text : null;
}

const FENCE = /```\n?([\s\S]*?)\n?```/g;

export function parse(text) {
  const blocks = [];
  let last = 0;
  for (const match of text.matchAll(FENCE)) {
    blocks.push(...parseLines(text.slice(last, match.index).replace(/\n$/, "")));
    blocks.push({ t: "pre", v: unescape(match[1].replace(/<([^<>|]+)(?:\|([^<>]+))?>/g, (_, a, b) => b ?? a)) });
    last = match.index + match[0].length;
  }
  blocks.push(...parseLines(text.slice(last).replace(last ? /^\n/ : /^$/, "")));
  return blocks;
}

const QUOTE = /^(?:&gt;|>) ?/;
const BULLET = /^\s*(?:[•◦▪]|[-*](?= ))\s*/;
const NUMBER = /^\s*(\d{1,3})[.)]\s+/;

function parseLines(text) {
  if (text === "") return [];
  const blocks = [];
  const lines = text.split("\n");
  let paragraph = [];
  const flush = () => {
    if (paragraph.length) blocks.push({ t: "p", c: inline(paragraph.join("\n")) });
    paragraph = [];
  };
  for (let at = 0; at < lines.length; at += 1) {
    const line = lines[at];
    if (/^(?:&gt;&gt;&gt;|>>>)/.test(line)) {
      flush();
      const rest = [line.replace(/^(?:&gt;&gt;&gt;|>>>) ?/, ""), ...lines.slice(at + 1)].join("\n");
      blocks.push({ t: "quote", c: parseLines(rest) });
      return blocks;
    }
    const kind = [QUOTE, BULLET, NUMBER].find((rule) => rule.test(line));
    if (!kind) {
      paragraph.push(line);
      continue;
    }
    flush();
    const run = [line];
    while (at + 1 < lines.length && kind.test(lines[at + 1])) run.push(lines[(at += 1)]);
    const bare = run.map((entry) => entry.replace(kind, ""));
    if (kind === QUOTE) blocks.push({ t: "quote", c: parseLines(bare.join("\n")) });
    else blocks.push({ t: "list", ordered: kind === NUMBER, start: kind === NUMBER ? Number(line.match(NUMBER)[1]) : 1, items: bare.map(inline) });
  }
  flush();
  return blocks;
}

const WRAPS = { "*": "bold", _: "italic", "~": "strike" };
const SHORTCODE = /:([a-z0-9_+'-]+(?:::skin-tone-[2-6])?):/iy;
const BARE_URL = /https?:\/\/[^\s<>|`*]*[^\s<>|`*.,;:!?'")\]]/iy;
const WORD = /[\p{L}\p{N}]/u;

/** Inline nodes of one paragraph. */
export function inline(text) {
  const nodes = [];
  let plain = "";
  const push = (node) => {
    if (plain) nodes.push({ t: "text", v: unescape(plain) });
    plain = "";
    if (node) nodes.push(node);
  };
  let at = 0;
  while (at < text.length) {
    const found = tokenAt(text, at);
    if (found) {
      push(found.node);
      at = found.end;
    } else {
      plain += text[at];
      at += 1;
    }
  }
  push(null);
  return nodes;
}

function tokenAt(text, at) {
  const character = text[at];
  if (character === "\n") return { node: { t: "br" }, end: at + 1 };
  if (character === "<") {
    const end = text.indexOf(">", at);
    return end > at + 1 ? { node: angle(text.slice(at + 1, end)), end: end + 1 } : null;
  }
  if (character === "`") {
    const end = text.indexOf("`", at + 1);
    const inside = end > 0 ? text.slice(at + 1, end) : "";
    return inside && !inside.includes("\n") ? { node: { t: "code", v: unescape(inside) }, end: end + 1 } : null;
  }
  if (character in WRAPS) return wrapped(text, at);
  if (character === ":") {
    SHORTCODE.lastIndex = at;
    const match = SHORTCODE.exec(text);
    // 10:30:45 is a time, not an emoji.
    return match && !/^\d+$/.test(match[1]) ? { node: { t: "emoji", name: match[1] }, end: at + match[0].length } : null;
  }
  if ((character === "h" || character === "H") && !WORD.test(text[at - 1] ?? " ")) {
    BARE_URL.lastIndex = at;
    const match = BARE_URL.exec(text);
    return match ? { node: { t: "link", href: safeHref(match[0]) }, end: at + match[0].length } : null;
  }
  return null;
}

/** *bold*, _italic_, ~strike~: opened at a word's edge, closed at a word's edge, on one line. */
function wrapped(text, at) {
  const mark = text[at];
  if (WORD.test(text[at - 1] ?? " ") || /[\s]|^$/.test(text[at + 1] ?? "") || text[at + 1] === mark) return null;
  for (let end = at + 1; end < text.length && text[end] !== "\n"; end += 1) {
    const jump = { "`": "`", "<": ">" }[text[end]];
    if (jump) {
      const close = text.indexOf(jump, end + 1);
      if (close > 0) end = close;
      continue;
    }
    if (text[end] !== mark || end === at + 1) continue;
    if (/\s/.test(text[end - 1]) || WORD.test(text[end + 1] ?? " ")) continue;
    return { node: { t: WRAPS[mark], c: inline(text.slice(at + 1, end)) }, end: end + 1 };
  }
  return null;
}

/** What stands between angle brackets: a mention, a date or a link. */
function angle(body) {
  const bar = body.indexOf("|");
  const target = bar < 0 ? body : body.slice(0, bar);
  const label = bar < 0 ? undefined : body.slice(bar + 1);
  if (target.startsWith("@")) return { t: "user", id: target.slice(1), label: label && unescape(label) };
  if (target.startsWith("#")) return { t: "channel", id: target.slice(1), label: label && unescape(label) };
  if (target.startsWith("!subteam^")) return { t: "group", id: target.slice(9), label: label && unescape(label) };
  if (target.startsWith("!date^")) {
    const [ts, pattern, href] = target.slice(6).split("^");
    if (/^\d+(\.\d+)?$/.test(ts)) {
      return { t: "date", ts, pattern: unescape(pattern ?? ""), href: href && safeHref(href), fallback: unescape(label ?? "") };
    }
    return { t: "text", v: unescape(label ?? body) };
  }
  if (/^!(here|channel|everyone)$/.test(target)) return { t: "broadcast", range: target.slice(1) };
  const href = safeHref(target);
  if (href) return { t: "link", href, label };
  return { t: "text", v: unescape(`<${body}>`) };
}
