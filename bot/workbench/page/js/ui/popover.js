/** A panel that floats at an element, stays inside the window, and closes by Escape or a press elsewhere. */

const GAP = 6;
const MARGIN = 8;

const open = [];

/**
 * Shows `content` at `anchor`. `matchWidth`: at least as wide as the anchor; `align`: "start" | "end";
 * `keepFocus`: the focus stays where it is, as for completions. Returns {close, place}.
 */
export function openPopover(anchor, content, { onClose, matchWidth = false, align = "start", keepFocus = false, above = false } = {}) {
  // Inside a modal dialog everything outside of it is inert, so the panel lives where its anchor lives.
  const host = anchor.closest("dialog") ?? document.body;
  content.classList.add("popover");
  host.append(content);

  function place() {
    const at = anchor.getBoundingClientRect();
    if (matchWidth) content.style.setProperty("min-width", `${at.width}px`);
    const { offsetWidth: width, offsetHeight: height } = content;
    const below = window.innerHeight - at.bottom - GAP - MARGIN;
    const upwards = above ? at.top - GAP - MARGIN >= height : below < height && at.top > below;
    const left = align === "end" ? at.right - width : at.left;
    const top = upwards ? at.top - GAP - height : at.bottom + GAP;
    content.style.setProperty("left", `${Math.max(MARGIN, Math.min(left, window.innerWidth - width - MARGIN))}px`);
    content.style.setProperty("top", `${Math.max(MARGIN, Math.min(top, window.innerHeight - height - MARGIN))}px`);
  }

  const entry = { close, content, anchor };

  function close({ refocus = true } = {}) {
    if (!open.includes(entry)) return;
    open.splice(open.indexOf(entry), 1);
    const inside = content.contains(document.activeElement);
    content.remove();
    document.removeEventListener("pointerdown", outside, true);
    document.removeEventListener("keydown", escape, true);
    window.removeEventListener("resize", place);
    document.removeEventListener("scroll", scrolled, true);
    if (refocus && inside && !keepFocus) anchor.focus({ preventScroll: true });
    onClose?.();
  }

  function outside(event) {
    if (!content.contains(event.target) && !anchor.contains(event.target)) close({ refocus: false });
  }

  function escape(event) {
    if (event.key !== "Escape" || open.at(-1) !== entry) return;
    event.preventDefault();
    event.stopPropagation();
    close();
  }

  function scrolled(event) {
    if (content.contains(event.target)) return;
    if (anchor.isConnected) place();
    else close();
  }

  document.addEventListener("pointerdown", outside, true);
  document.addEventListener("keydown", escape, true);
  window.addEventListener("resize", place);
  document.addEventListener("scroll", scrolled, true);
  open.push(entry);
  place();
  return { close, place };
}

export const anyPopoverOpen = () => open.length > 0;
