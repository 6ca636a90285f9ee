// The Sketchpad's pad: a prediction while the pen is down, and feedback on it.

import { createArrowPen } from "./arrow_pen.js";
import { createCanvas } from "./canvas.js";
import { bytesOf, DIGITS, find, labelText, make, NONE, percent } from "./dom.js";
import { createFollower } from "./newest.js";
import {
  connection,
  holdReload,
  isFirstVisit,
  loginKnown,
  modelName,
  newSecret,
  onConnection,
  storedSketch,
  storeSketch,
  visitor,
} from "./page_state.js";
import { readPicture, withInk } from "./picture.js";
import { createPredictionView } from "./prediction.js";
import { extendStroke, idOf, linesOf, PEN, sketchOf, smooth, startStroke } from "./strokes.js";

// Milliseconds from one call to the next while a training run uses the processor that predicts.
const BUSY_PACE = 90;
const PENDING = 300; // milliseconds after which a first prediction is said to be on its way
const LATE = 3000; // milliseconds after which an earlier prediction is no longer shown
const RULED_OUT = "You marked this prediction as wrong; choose another label, or press Right.";
const CONFIRMED = 4000; // milliseconds in which a late confirmation can be read before a reload

/** @typedef {import("./strokes.js").Point} Point */
/** @typedef {import("./strokes.js").Stroke} Stroke */
/** @typedef {import("./prediction.js").Prediction} Prediction */

/**
 * One digit that was read. content: how calls send it; null for the
 * sketch's own strokes, of which the newest are sent.
 * @typedef {Prediction & { content: object | null }} Part
 */

// done: feedback was given, if not saved yet, so the next stroke starts a new sketch; so does one on an
// example, which takes no feedback. lineage: identifies a sketch while strokes are added to it.
const sketch = {
  /** @type {Stroke[]} */
  strokes: [],
  /** @type {import("./picture.js").Picture | null} in place of strokes */
  picture: null,
  /** @type {HTMLCanvasElement | null} the picture as it is shown */
  image: null,
  imageId: "",
  /** @type {Part[]} what is shown: one part, or the digits of a number, or none */
  parts: [],
  chosen: 0,
  done: false,
  isExample: false,
  lineage: 0,
};

export const isBlank = () => sketch.picture === null && sketch.strokes.length === 0;

/** Names the sketch in the feedback: every change makes another sketch, a reload does not. */
const sketchId = () => (sketch.picture ? sketch.imageId : idOf(sketch.strokes));

/** The sketch as calls send it. */
export function wholeSketch() {
  if (sketch.picture) return { picture: sketch.picture.content };
  return { strokes: linesOf(sketch.strokes), width: PEN };
}

/** The predicted digit, as calls send it: of a number the chosen one. Null without a prediction. */
export function predictedContent() {
  const part = sketch.parts[sketch.chosen];
  return part ? (part.content ?? wholeSketch()) : null;
}

/** @param {Prediction} part */
const labelOf = ({ refused, digit }) => (refused ? NONE : digit);

class SketchpadElement extends HTMLElement {
  connectedCallback() {
    if (!this.dataset.started) startPad(this);
    this.dataset.started = "true";
  }
}

customElements.define("digitcnn-sketchpad", SketchpadElement);

/** @param {HTMLElement} root */
function startPad(root) {
  const pad = find(root, "#pad");
  const canvas = find(root, "#pad canvas");
  const answer = find(root, "#pad-answer");
  const panelsSay = root.querySelectorAll(".panel [aria-live]");
  const message = find(root, ".message");
  const recorded = find(root, ".recorded");
  const truth = find(root, ".truth");
  const undoButton = find(root, "#pad-undo");
  const clearButton = find(root, "#pad-clear");
  const rightButton = find(root, "#feedback-right");
  const wrongButton = find(root, "#feedback-wrong");
  const showPrediction = createPredictionView(root, choose);

  // ---- The sketch ------------------------------------------------------------------------------

  const pen = {
    /** @param {Point} point */
    onStart(point) {
      canvas.focus({ preventScroll: true }); // for the keys
      answer.ariaBusy = "true"; // screen readers hear of the prediction when the pen is lifted
      for (const region of panelsSay) region.ariaLive = "off";
      // After feedback, on an example and on an image, the pen begins the next sketch.
      const isNew = sketch.done || sketch.isExample || sketch.picture !== null;
      if (isNew) empty();
      sketch.strokes.push(startStroke(point));
      changed({ grown: !isNew });
    },
    /** @param {Point[]} points */
    onExtend(points) {
      const stroke = sketch.strokes[sketch.strokes.length - 1];
      if (extendStroke(stroke, points)) changed({ grown: true });
    },
    onLift() {
      answer.ariaBusy = "false";
      for (const region of panelsSay) {
        region.ariaLive = "polite";
        region.replaceChildren(region.textContent ?? ""); // only new text is read out
      }
      store();
    },
  };
  const drawing = createCanvas(canvas, {
    strokes: () => sketch.strokes,
    image: () => sketch.image,
    ...pen,
  });
  const arrowPen = createArrowPen(canvas, {
    mark: find(root, ".pen"),
    state: find(root, ".pen-state"),
    ...pen,
  });
  const { paint, isDrawing } = drawing;

  function lift() {
    drawing.lift();
    arrowPen.lift();
  }

  /** @param {{ grown: boolean }} change */
  function changed({ grown }) {
    sketch.done = false;
    if (!grown) sketch.lineage += 1;
    if (!isDrawing()) store();
    paint();
    showTools();
    predictAgain();
  }

  function store() {
    const id = idOf(sketch.strokes);
    storeSketch({
      strokes: sketch.isExample ? [] : sketch.strokes,
      done: sketch.done,
      given: [...given].filter(([name]) => name === id || name.startsWith(`${id}-`)),
      message: recorded.textContent,
    });
  }

  function empty() {
    sketch.strokes = [];
    sketch.picture = null;
    sketch.image = null;
    sketch.parts = [];
    sketch.isExample = false;
    recorded.textContent = "";
  }

  let nextExample = 0;

  function showExample() {
    const examples = JSON.parse(pad.dataset.examples ?? "[]");
    lift();
    empty();
    sketch.strokes = examples[nextExample % examples.length].map(
      (/** @type {Point[]} */ points) => ({
        ...startStroke(points[0]),
        points,
        line: smooth(points),
      }),
    );
    sketch.isExample = true;
    nextExample += 1;
    changed({ grown: false });
    recorded.textContent = "This is an example. Draw to replace it with your own.";
  }

  function undo() {
    if (isBlank()) return;
    lift();
    if (sketch.picture) empty();
    else sketch.strokes.pop();
    changed({ grown: false });
  }

  function clear() {
    if (isBlank()) return;
    lift();
    empty();
    changed({ grown: false });
  }

  // ---- Predictions: one call at a time, for the newest state of the sketch ---------------------

  const { changed: predictAgain, settled } = createFollower({
    pace: BUSY_PACE,
    async ask() {
      const { lineage } = sketch;
      const words = () => (isBlank() ? undefined : "Reading…");
      const timers = [
        setTimeout(() => sketch.parts.length === 0 && showPrediction([], words()), PENDING),
        setTimeout(() => show([], words()), LATE),
      ];
      // One that the app could not give is asked for when it is back.
      const reply = isBlank()
        ? { digit: null }
        : await connection.call("predict", { model: modelName(), ...wholeSketch() });
      for (const timer of timers) clearTimeout(timer);
      return {
        busy: reply.busy,
        show() {
          // A prediction for an earlier state of this sketch is news; one for another sketch is not.
          if (lineage === sketch.lineage) showReply(reply);
        },
      };
    },
  });

  /** @param {import("./calls.js").Reply} reply */
  function showReply(reply) {
    message.textContent = reply.error ?? reply.reason ?? "";
    find(root, ".note").textContent =
      reply.is_digit === null ? "This model cannot reject non-digits." : "";
    if (reply.ink) showInk(reply);
    const parts = reply.parts ?? (reply.probabilities ? [reply] : []);
    show(
      parts.map((/** @type {any} */ part) => ({
        digit: part.digit,
        refused: part.is_digit === false,
        probabilities: part.probabilities,
        calibrated: reply.calibrated,
        pixels: bytesOf(part.seen),
        // A drawing is kept as strokes; a picture is sent once, and never again for the panels.
        content: reply.parts || sketch.picture ? { seen: part.seen } : null,
      })),
      isBlank() ? undefined : reply.reason ? "Not one row of digits" : "No prediction",
    );
  }

  /** Shows what was taken for ink. @param {import("./calls.js").Reply} reply */
  async function showInk({ ink, parts = [] }) {
    const { picture } = sketch;
    if (!picture) return;
    const colour = getComputedStyle(root).getPropertyValue("--accent").trim() || "royalblue";
    const boxes = parts.map((/** @type {any} */ { box }) => box);
    const image = await withInk(picture.canvas, ink, boxes, colour);
    if (sketch.picture !== picture) return;
    sketch.image = image;
    paint();
  }

  /** @param {Part[]} parts @param {string} [words] */
  function show(parts, words) {
    sketch.parts = parts;
    sketch.chosen = 0;
    tell(words);
  }

  /** @param {number} place */
  function choose(place) {
    sketch.chosen = place;
    tell();
    if (isAsking()) askForLabel();
  }

  /** @param {string} [words] */
  function tell(words) {
    const { parts, chosen } = sketch;
    showPrediction(parts, words, chosen);
    showTools();
    // For the panels, which ask for more once the prediction is shown.
    const { digit = null, refused = false } = parts[chosen] ?? {};
    const detail = { digit, refused, blank: isBlank(), lineage: sketch.lineage };
    dispatchEvent(new CustomEvent("digitcnn-answer", { detail }));
  }

  // ---- Feedback --------------------------------------------------------------------------------

  /**
   * The last feedback on each digit, by its name in the store, which keeps one for each. Another
   * prediction for the same sketch leaves it, be it another model's or one after an outage.
   * @type {Map<string, import("./strokes.js").Feedback>}
   */
  const given = new Map();

  const labels = [...DIGITS, NONE];
  const labelButtons = labels.map((label) => {
    const button = make("button", "button", label === NONE ? "Not a digit" : String(label));
    button.type = "button";
    button.dataset.digit = String(label);
    button.addEventListener("click", () => rate(label));
    find(root, "#feedback-digit").append(button);
    return button;
  });

  function showTools() {
    const focused = document.activeElement;
    const isUnknown = isBlank() || sketch.parts.length === 0 || sketch.isExample;
    for (const button of [undoButton, clearButton]) button.disabled = isBlank();
    for (const button of [rightButton, wrongButton]) button.disabled = isUnknown;
    const judged = namesOf(sketch.parts, sketchId()).map((name) => {
      const known = given.get(name);
      return known?.model === modelName() ? known : null;
    });
    const feedback = judged[sketch.chosen] ?? null;
    const right = feedback !== null && feedback.label === feedback.predicted;
    [...find(root, ".parts").children].forEach((part, place) => {
      const about = judged[place];
      part.classList.toggle("right", Boolean(about && about.label === about.predicted));
      part.classList.toggle("wrong", Boolean(about && about.label !== about.predicted));
    });
    rightButton.classList.toggle("chosen", feedback !== null && right);
    wrongButton.classList.toggle("chosen", feedback !== null && !right);
    for (const button of labelButtons) {
      const chosen = String(feedback?.label) === button.dataset.digit;
      button.classList.toggle("chosen", chosen);
      button.classList.toggle("right", chosen && right);
      button.classList.toggle("wrong", chosen && !right);
      button.setAttribute("aria-pressed", String(chosen));
    }
    if (feedback !== null || isUnknown) truth.classList.remove("asking");
    showLabels(isUnknown);
    // A button that is disabled by its own press would lose the focus to nothing.
    if (focused instanceof HTMLButtonElement && focused.disabled && root.contains(focused)) {
      canvas.focus({ preventScroll: true });
    }
  }

  const isAsking = () => truth.classList.contains("asking");

  /** @param {number | string} label whether it is the prediction that was just called wrong */
  function isRuledOut(label) {
    const part = sketch.parts[sketch.chosen];
    return isAsking() && part !== undefined && labelOf(part) === label;
  }

  /** @param {boolean} isUnknown whether there is nothing to label */
  function showLabels(isUnknown) {
    labels.forEach((label, place) => {
      const ruledOut = isRuledOut(label);
      labelButtons[place].disabled = isUnknown || ruledOut;
      const key = label === NONE ? "N" : label;
      const name = label === NONE ? "Not a digit" : `Digit ${label}`;
      labelButtons[place].title = ruledOut ? RULED_OUT : `${name} (key ${key} on the pad)`;
    });
  }

  /** Says what became of the feedback, where it can be read. @param {string} text */
  function say(text) {
    recorded.textContent = text;
    recorded.scrollIntoView({ block: "nearest" });
  }

  // One at a time: the last one holds.
  let saving = Promise.resolve();

  /** @param {Part[]} parts @param {string} id of the sketch */
  const namesOf = (parts, id) =>
    parts.map((_, place) => (parts.length > 1 ? `${id}-${place}` : id));

  /**
   * What feedback is about; the next drawing may have begun when it is saved. whole: the sketch as
   * calls send it.
   * @typedef {{ id: string, parts: Part[], chosen: number, whole: object }} Judged
   */

  /** @returns {Judged} */
  function judgedNow() {
    const { parts, chosen } = sketch;
    return { id: sketchId(), parts, chosen, whole: wholeSketch() };
  }

  /** @param {number | string | null} label null: as predicted */
  function rate(label) {
    if (label !== null && isRuledOut(label)) return say(RULED_OUT);
    if (isBlank() || sketch.isExample) return;
    const judged = judgedNow();
    const names = namesOf(judged.parts, judged.id);
    sketch.done =
      names.length > 0 &&
      names.every((name, place) => label === null || place === judged.chosen || given.has(name));
    saving = saving
      .then(() => holdReload(save(label, judged)))
      .catch(() => {
        say("Your feedback was not saved; give it again.");
      });
  }

  /**
   * Saves feedback on the chosen digit, or that all are right.
   * @param {number | string | null} label @param {Judged} pressed
   */
  async function save(label, pressed) {
    await settled();
    const { id } = pressed;
    const judged = sketchId() === id ? judgedNow() : pressed;
    const { parts, chosen } = judged;
    if (parts.length === 0) return;
    const names = namesOf(parts, id);
    const places = label === null ? parts.map((_, place) => place) : [chosen];
    let saved = true;
    for (const place of places) {
      saved = saved && (await saveOne(judged, place, label ?? labelOf(parts[place])));
    }
    if (sketchId() !== id) return;
    sketch.done = names.every((name) => given.has(name));
    store();
    if (saved && label === null && parts.length > 1) {
      say(`Saved: all ${parts.length} digits right. Draw the next.`);
    }
  }

  /**
   * Returns whether it was saved.
   * @param {Judged} judged @param {number} place of the digit @param {number | string} label
   */
  async function saveOne({ id, parts, whole }, place, label) {
    const name = namesOf(parts, id)[place];
    const corrects = given.has(name);
    let waited = false;
    const model = modelName();
    const payload = { model, ...(parts[place].content ?? whole), visitor, sketch: name };
    const reply = await connection.deliver(
      "give_feedback",
      { ...payload, digit: label === NONE ? null : label },
      {
        onWait: ({ error }) => {
          waited = true;
          say(`Feedback not saved yet. ${error}`);
        },
      },
    );
    if (reply.error) {
      say(reply.unavailable ? "Your feedback was not saved; give it again." : reply.error);
      return false;
    }
    showScores(reply);
    dispatchEvent(new Event("digitcnn-feedback"));
    const predictedLabel = reply.answer ?? NONE;
    given.set(name, { label, predicted: predictedLabel, model });
    const isThere = sketchId() === id;
    if (isThere) showTools();
    else if (!waited) return true;
    const isOneOfMany = parts.length > 1 && isThere;
    const about = isOneOfMany ? `Digit ${place + 1} of ${parts.length} is ` : "";
    const predictedText = predictedLabel === NONE ? "“not a digit”" : predictedLabel;
    say(
      `${corrects ? "Corrected" : "Saved"}: ${about}${labelText(label)}. ` +
        `The prediction ${predictedText} was ${label === predictedLabel ? "right" : "wrong"}. ` +
        (isOneOfMany ? "Choose another digit, or draw the next." : "Draw the next digit."),
    );
    if (waited) holdReload(new Promise((done) => setTimeout(done, CONFIRMED)));
    return true;
  }

  let beforeQuestion = "";

  function askForLabel() {
    if (!isAsking()) beforeQuestion = recorded.textContent ?? "";
    truth.classList.add("asking");
    showLabels(false);
    const { parts, chosen } = sketch;
    say(
      parts.length > 1
        ? `Digit ${chosen + 1} of ${parts.length} was predicted as ` +
            `${labelText(labelOf(parts[chosen]))}: which digit is it? Choose it or press its key. ` +
            "If another one is wrong, choose that first."
        : "Which digit is it? Choose it or press its key.",
    );
    canvas.focus({ preventScroll: true });
  }

  /** Takes the question back, as if Wrong had not been pressed. */
  function withdrawQuestion() {
    truth.classList.remove("asking");
    recorded.textContent = beforeQuestion;
    showTools();
  }

  /** @type {Record<string, import("./calls.js").Reply>} */
  const scores = {};

  /** @param {import("./calls.js").Reply} reply */
  function showScores({ mine, all, stored_in: place, error }) {
    if (error) return;
    Object.assign(scores, { You: mine, Everyone: all });
    drawScores();
    find(root, ".stored-in").textContent = `Feedback and sketches are stored in ${place}.`;
  }

  function drawScores() {
    const boxes = Object.entries(scores).map(([name, { right, total, share, low, high }]) => {
      const box = make("div");
      const interval = `95% interval ${(100 * low).toFixed(1)} to ${percent(high)}`;
      box.append(
        make("span", "name", name),
        make("span", "share", total ? percent(share) : "–"),
        make(
          "span",
          "interval",
          total ? `${right} of ${total} right, ${interval}` : "no feedback yet",
        ),
      );
      return box;
    });
    find(root, "#feedback-score").replaceChildren(...boxes);
  }

  addEventListener("digitcnn-everybody", (event) => {
    const { detail } = /** @type {CustomEvent} */ (event);
    if (!detail || !scores.Everyone) return;
    scores.Everyone = detail;
    drawScores();
    if (detail.total < scores.You.total) refreshScores(); // all was deleted
  });

  async function refreshScores() {
    showScores(await connection.call("scores", { visitor }));
  }

  // ---- Keys and images -------------------------------------------------------------------------

  canvas.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    const command = event.ctrlKey || event.metaKey;
    if (event.key === "Escape" && isAsking()) withdrawQuestion();
    else if (command && !event.shiftKey && event.key.toLowerCase() === "z") undo();
    else if (command || event.altKey) return;
    else if (/^[0-9]$/.test(event.key) && !event.repeat) rate(Number(event.key));
    else if (event.key.toLowerCase() === "n" && !event.repeat) rate(NONE);
    else if (event.key === "Delete" || event.key === "Escape") clear();
    else return;
    event.preventDefault();
  });

  truth.addEventListener("keydown", (/** @type {KeyboardEvent} */ { key }) => {
    if (key === "Escape" && isAsking()) withdrawQuestion();
  });

  /** @param {File} file */
  async function useImage(file) {
    try {
      const picture = await readPicture(file);
      lift();
      empty();
      [sketch.picture, sketch.image, sketch.imageId] = [picture, picture.canvas, newSecret()];
      changed({ grown: false });
      canvas.focus({ preventScroll: true });
    } catch (error) {
      message.textContent = /** @type {Error} */ (error).message;
    }
  }

  /** @param {DataTransfer | null} transfer */
  const firstImage = (transfer) =>
    Array.from(transfer?.files ?? []).find(({ type }) => type.startsWith("image/"));

  // On the whole page, as the clipboard goes to whatever has focus; fields keep theirs.
  document.addEventListener("paste", (event) => {
    const target = /** @type {Element} */ (event.target);
    const field = target.closest?.("input, textarea, [contenteditable]");
    const file = firstImage(event.clipboardData);
    if (canvas.offsetParent === null || field || !file) return;
    event.preventDefault();
    useImage(file);
  });
  pad.addEventListener("dragover", (/** @type {DragEvent} */ event) => {
    event.preventDefault();
    pad.classList.add("dropping");
  });
  pad.addEventListener("dragleave", () => pad.classList.remove("dropping"));
  pad.addEventListener("drop", (/** @type {DragEvent} */ event) => {
    event.preventDefault();
    pad.classList.remove("dropping");
    const file = firstImage(event.dataTransfer);
    if (file) useImage(file);
    else message.textContent = "The dropped file is not an image; drop an image file.";
  });

  // ---- Start -----------------------------------------------------------------------------------

  const chooser = /** @type {HTMLInputElement} */ (find(root, ".tools input"));
  find(root, "#pad-picture").addEventListener("click", () => chooser.click());
  chooser.addEventListener("change", () => {
    const file = chooser.files?.[0];
    if (file) useImage(file);
    chooser.value = ""; // the same file can be chosen again
  });
  undoButton.addEventListener("click", undo);
  clearButton.addEventListener("click", clear);
  find(root, "#pad-example").addEventListener("click", showExample);
  rightButton.addEventListener("click", () => rate(null));
  wrongButton.addEventListener("click", askForLabel);
  const useModel = () => {
    pad.dataset.model = modelName();
    predictAgain();
  };
  addEventListener("digitcnn-model", useModel);
  addEventListener("digitcnn-correction", refreshScores);
  // From a result of another tab: the sketch of before was for the model of before.
  addEventListener("digitcnn-draw", () => {
    clear();
    canvas.focus({ preventScroll: true });
  });
  addEventListener("pagehide", store);
  onConnection((notice) => {
    message.textContent = notice;
    if (notice) show([], isBlank() ? undefined : "No prediction");
    else {
      predictAgain();
      refreshScores();
    }
  });

  show([]);
  if (!connection.notice) refreshScores();
  if (modelName()) useModel();
  loginKnown.then(() => {
    const restored = sketchOf(storedSketch());
    if (!isBlank()) {
      store(); // what was drawn before belongs to this login
      return;
    }
    if (restored.strokes.length === 0) {
      if (isFirstVisit) showExample();
      return;
    }
    sketch.strokes = restored.strokes;
    sketch.done = restored.done;
    for (const [name, feedback] of restored.given) given.set(name, feedback);
    recorded.textContent = restored.message;
    paint();
    showTools();
    predictAgain();
  });
}
