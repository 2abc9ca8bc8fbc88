/**
 * Emoji shortcodes. Those an incident uses most are drawn by us (art/emoji/*.svg), so a machine without an
 * emoji font shows them too; the rest are plain Unicode.
 */

import { h } from "../dom.js";

const DRAWN = {
  rotating_light: "🚨", white_check_mark: "✅", warning: "⚠️", x: "❌", fire: "🔥", pushpin: "📌", eyes: "👀",
  red_circle: "🔴", large_orange_circle: "🟠", large_yellow_circle: "🟡", large_green_circle: "🟢",
  large_blue_circle: "🔵", large_purple_circle: "🟣", white_circle: "⚪", black_circle: "⚫",
  hourglass_flowing_sand: "⏳", bell: "🔔", no_bell: "🔕", pager: "📟", bulb: "💡", memo: "📝",
  wrench: "🔧", chart_with_upwards_trend: "📈", chart_with_downwards_trend: "📉", rocket: "🚀", link: "🔗",
  lock: "🔒", speech_balloon: "💬", mega: "📣", arrows_counterclockwise: "🔄", tada: "🎉", "+1": "👍",
  zap: "⚡", mag: "🔍", heart: "❤️", page_facing_up: "📄", ballot_box_with_check: "☑️", white_large_square: "⬜",
  heavy_check_mark: "✔️", no_entry: "⛔", information_source: "ℹ️", rewind: "⏪", calendar: "📅",
  bust_in_silhouette: "👤", busts_in_silhouette: "👥", gear: "⚙️", stopwatch: "⏱️", package: "📦",
  floppy_disk: "💾", phone: "☎️", shield: "🛡️", arrow_right: "➡️", star: "⭐", pray: "🙏",
  clipboard: "📋", dart: "🎯", arrow_forward: "▶️", fast_forward: "⏩", hourglass: "⌛", octagonal_sign: "🛑", small_blue_diamond: "🔹",
};

const PLAIN = {
  "-1": "👎", smile: "😄", grin: "😁", joy: "😂", slightly_smiling_face: "🙂", sweat_smile: "😅", thinking_face: "🤔",
  sob: "😭", scream: "😱", grimacing: "😬", sunglasses: "😎", raised_hands: "🙌", clap: "👏", wave: "👋",
  ok_hand: "👌", muscle: "💪", point_right: "👉", point_up: "☝️", handshake: "🤝", hand: "✋", salute: "🫡",
  coffee: "☕", beer: "🍺", cake: "🍰", sparkles: "✨", boom: "💥", 100: "💯", question: "❓", exclamation: "❗",
  bug: "🐛", robot_face: "🤖", ghost: "👻", skull: "💀", poop: "💩", snail: "🐌", turtle: "🐢", owl: "🦉",
  hammer: "🔨", hammer_and_wrench: "🛠️", construction: "🚧", toolbox: "🧰", test_tube: "🧪", microscope: "🔬",
  battery: "🔋", electric_plug: "🔌", computer: "💻", desktop_computer: "🖥️", satellite: "🛰️", satellite_antenna: "📡",
  thermometer: "🌡️", snowflake: "❄️", sunny: "☀️", cloud: "☁️", rain_cloud: "🌧️", ocean: "🌊", earth_africa: "🌍",
  clock1: "🕐", clock3: "🕒", alarm_clock: "⏰", bookmark: "🔖", books: "📚",
  bar_chart: "📊", email: "✉️", inbox_tray: "📥", outbox_tray: "📤", key: "🔑", unlock: "🔓",
  double_vertical_bar: "⏸️", stop_button: "⏹️", repeat: "🔁",
  arrow_up: "⬆️", arrow_down: "⬇️", arrow_left: "⬅️", heavy_plus_sign: "➕", heavy_minus_sign: "➖",
  checkered_flag: "🏁", triangular_flag_on_post: "🚩", trophy: "🏆", fire_engine: "🚒", ambulance: "🚑",
  crown: "👑", blue_heart: "💙", green_heart: "💚", black_large_square: "⬛", radio_button: "🔘",
  small_red_triangle: "🔺", new: "🆕", ok: "🆗", sos: "🆘",
};

const ALIASES = {
  thumbsup: "+1", thumbsdown: "-1", green_circle: "large_green_circle", yellow_circle: "large_yellow_circle",
  orange_circle: "large_orange_circle", blue_circle: "large_blue_circle", telephone: "phone", loudspeaker: "mega",
  heavy_multiplication_x: "x", telephone_receiver: "phone", pencil: "memo", thinking: "thinking_face",
  raised_hand: "hand", collision: "boom", clock: "clock3", timer_clock: "stopwatch", no_entry_sign: "no_entry",
  rotating_light_siren: "rotating_light", chart: "chart_with_upwards_trend", mag_right: "mag", balloon: "tada",
};

const ALL = { ...DRAWN, ...PLAIN };
const BY_CHARACTER = new Map(Object.entries(DRAWN).map(([name, character]) => [bare(character), name]));

/** Without the variation selector, which writers add or leave out at will. */
function bare(character) {
  return character.replace(/\uFE0F/g, "");
}

/** Matches the drawn characters inside running text. */
export const DRAWN_CHARACTERS = new RegExp(`(${[...BY_CHARACTER.keys()].join("|")})\\uFE0F?`, "gu");

const address = (name) => `/static/art/emoji/${encodeURIComponent(name)}.svg`;

export const canonical = (name) => ALIASES[name] ?? name;
export const isEmoji = (name) => canonical(name) in ALL;
export const EMOJI_NAMES = Object.keys(ALL);

/** The node for one shortcode; an unknown one stays `:as_written:`, as Slack shows it. */
export function emoji(name, { decorative = false } = {}) {
  const known = canonical(name.replace(/::skin-tone-\d$/, ""));
  const character = ALL[known];
  if (!character) return document.createTextNode(`:${name}:`);
  if (known in DRAWN) {
    return h("img", {
      class: "emoji", src: address(known), alt: decorative ? "" : character,
      title: decorative ? null : `:${known}:`, draggable: "false",
    });
  }
  return h("span", { class: "emoji-text", role: "img", "aria-label": known, title: `:${known}:` }, character);
}

/** Fetches the drawn emoji ahead, so that none appears late in a card. */
export function preload() {
  for (const name of Object.keys(DRAWN)) new Image().src = address(name);
}

export const emojiOfCharacter = (character) => BY_CHARACTER.get(bare(character));
