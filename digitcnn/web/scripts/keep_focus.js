// Keeps the keyboard focus where a pressed button is disabled, as one that starts something is: the
// browser would drop it. It waits on the button beside it that is enabled meanwhile, such as Stop,
// and returns once the first is enabled again.

const GUARDED = 600; // milliseconds in which a second press is still meant for the first button

/** @type {EventTarget | null} where the focus was last; the browser takes it from a disabled button */
let focused = null;
/** @type {HTMLButtonElement | null} the disabled button that the focus returns to */
let pressed = null;
/** @type {HTMLButtonElement | null} the button that the focus was moved to */
let movedTo = null;
let movedAt = 0;
let byKey = false; // whether the last press was a key's: a pointer needs no focus

document.addEventListener("focusin", (event) => {
  focused = event.target;
  if (focused !== movedTo) pressed = null; // somebody has moved it
});
document.addEventListener(
  "keydown",
  () => {
    byKey = true;
  },
  true,
);
document.addEventListener(
  "pointerdown",
  () => {
    byKey = false;
    pressed = null;
  },
  true,
);

/** @param {HTMLButtonElement} button */
function enabledBeside(button) {
  const others = /** @type {NodeListOf<HTMLButtonElement> | undefined} */ (
    button.parentElement?.querySelectorAll(":scope > button:enabled")
  );
  return [...(others ?? [])].find((other) => other.getClientRects().length > 0);
}

function settle() {
  const active = document.activeElement;
  const isLost = !active || active === document.body || active.matches(":disabled");
  if (!pressed || !isLost) return;
  const target = pressed.disabled ? enabledBeside(pressed) : pressed;
  if (!target) return;
  if (target === pressed) pressed = null;
  [movedTo, movedAt] = [target, performance.now()];
  target.focus({ preventScroll: true });
}

new MutationObserver((changes) => {
  for (const { target } of changes) {
    if (byKey && target === focused && target instanceof HTMLButtonElement && target.disabled) {
      pressed ??= target;
    }
  }
  settle();
}).observe(document, { attributes: true, attributeFilter: ["disabled"], subtree: true });

document.addEventListener(
  "click",
  (event) => {
    const isKey = event.detail === 0;
    if (isKey && event.target === movedTo && performance.now() - movedAt < GUARDED) {
      event.preventDefault();
      event.stopImmediatePropagation();
    }
  },
  true,
);
