/** Turns Slack timestamps (seconds since the epoch, as strings) into what a person reads. */

const LOCALE = undefined; // the browser's own

const format = (options) => new Intl.DateTimeFormat(LOCALE, options);
const CLOCK = format({ hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const CLOCK_SECONDS = format({ hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const DAY = format({ weekday: "long", month: "long", day: "numeric" });
const DAY_YEAR = format({ weekday: "long", month: "long", day: "numeric", year: "numeric" });
const SHORT = format({ month: "short", day: "numeric", year: "numeric" });
const LONG = format({ weekday: "long", month: "long", day: "numeric", year: "numeric" });
const MIDDLE = format({ month: "long", day: "numeric", year: "numeric" });
const FULL = format({ dateStyle: "full", timeStyle: "medium" });

const date = (ts) => new Date(Number(ts) * 1000);

export const clock = (ts) => CLOCK.format(date(ts));
export const full = (ts) => FULL.format(date(ts));

/** A key that is equal for two timestamps of the same local day. */
export const dayKey = (ts) => date(ts).toDateString();

/** "Today", "Yesterday", or the date. */
export function dayName(ts, now = Date.now()) {
  const near = nearDay(ts, now);
  if (near) return near;
  const then = date(ts);
  return (then.getFullYear() === new Date(now).getFullYear() ? DAY : DAY_YEAR).format(then);
}

function nearDay(ts, now) {
  const key = dayKey(ts);
  if (key === new Date(now).toDateString()) return "Today";
  if (key === new Date(now - 86_400_000).toDateString()) return "Yesterday";
  return null;
}

/** "just now", "4 min ago", "2 h ago", "3 days ago". */
export function ago(ts, now = Date.now()) {
  const seconds = Math.max(0, now / 1000 - Number(ts));
  if (seconds < 45) return "just now";
  if (seconds < 3600) return `${Math.max(1, Math.round(seconds / 60))} min ago`;
  if (seconds < 86_400) return `${Math.round(seconds / 3600)} h ago`;
  const days = Math.round(seconds / 86_400);
  return days === 1 ? "1 day ago" : `${days} days ago`;
}

/** Slack's date tokens, as in `<!date^1700000000^{date_short_pretty} {time}|fallback>`. */
export function dateTokens(ts, pattern, now = Date.now()) {
  const then = date(ts);
  const pretty = (formatter) => nearDay(ts, now) ?? formatter.format(then);
  const values = {
    date_num: () => `${then.getFullYear()}-${String(then.getMonth() + 1).padStart(2, "0")}-${String(then.getDate()).padStart(2, "0")}`,
    date: () => MIDDLE.format(then),
    date_short: () => SHORT.format(then),
    date_long: () => LONG.format(then),
    date_pretty: () => pretty(MIDDLE),
    date_short_pretty: () => pretty(SHORT),
    date_long_pretty: () => pretty(LONG),
    time: () => CLOCK.format(then),
    time_secs: () => CLOCK_SECONDS.format(then),
    ago: () => ago(ts, now),
    day_divider_pretty: () => dayName(ts, now),
  };
  return pattern.replace(/\{(\w+)\}/g, (token, name) => (values[name] ? values[name]() : token));
}
