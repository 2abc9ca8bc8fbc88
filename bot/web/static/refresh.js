// Brings the page up to date every 15 seconds without a jump. Waits while nobody looks or somebody selects text.

const EVERY_MS = 15_000;
const PATIENCE_MS = 8_000;

let timer = 0;

function again() {
  clearTimeout(timer);
  if (document.querySelector("main[data-refresh]")) timer = setTimeout(refresh, EVERY_MS);
}

async function refresh() {
  if (document.hidden || String(getSelection())) {
    again();
    return;
  }
  try {
    const answer = await fetch(location.href, { signal: AbortSignal.timeout(PATIENCE_MS), cache: "no-store" });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    show(new DOMParser().parseFromString(await answer.text(), "text/html"));
  } catch {
    const asOf = document.getElementById("asof");
    asOf?.classList.add("asof-lost");
    if (asOf && !asOf.dataset.lost) {
      asOf.dataset.lost = "yes";
      asOf.append("; the bot does not answer, trying again");
    }
  }
  again();
}

function show(fresh) {
  const before = document.querySelector("main");
  const after = document.adoptNode(fresh.querySelector("main"));
  for (const open of before.querySelectorAll("details[open][id]")) {
    after.querySelector(`#${CSS.escape(open.id)}`)?.setAttribute("open", "");
  }
  const focused = before.contains(document.activeElement) && document.activeElement.getAttribute("href");
  before.replaceWith(after);
  document.title = fresh.title;
  if (focused) after.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden && document.querySelector("main[data-refresh]")) refresh();
});
again();
