// The panels: they follow the pad, each at its own pace.
//
// Runs once, when Gradio has put the section on the page, with these at hand:
//   element  holds the markup
//   server   the panels' functions in Python; each takes one object and answers with one
// After this come the panels' own scripts, each in a block of its own, which call register().

const PATIENCE = 15000; // milliseconds to wait for a reply
const LONGEST_REST = 60; // milliseconds between a reply and the next question while one draws
const NARROW = matchMedia("(max-width: 640px)");
const SAYS_NOTHING = "The app does not answer; draw on, or try again in a moment.";

const make = (tag, className = "", text = "") => {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
};

const percent = (share) => `${(100 * share).toFixed(1)} %`;

// The bytes of a base64 text.
const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

// Puts square pictures of grey pixels, 0 to 255, into a canvas of that side.
function drawGrey(context, bytes, side) {
  const image = context.createImageData(side, side);
  bytes.forEach((value, i) => image.data.set([value, value, value, 255], 4 * i));
  context.putImageData(image, 0, 0);
}

// What the pad showed last. answer: {digit, refused, probabilities, blank, lineage}; refused: it was
// taken for no digit, and digit is the closest; lineage is the same for all states of a drawing that
// grows.
const pad = { answer: null, lineage: 0 };
const panels = [];

const drawn = () => {
  const drawing = window.digitcnnDrawing?.();
  return drawing && (drawing.picture || drawing.strokes.length > 0) ? drawing : null;
};

// name: the panel's element is #panel-<name>, and its function in Python is called so.
// show(reply, answer): puts a reply on the page. clear(): shows that nothing is drawn.
// ask(payload): for a panel that sends more than {model, strokes or picture}, or calls another
// function, as `(payload) => call("name", {...payload, more})`.
// A reply is what show() takes, or {error: sentence}, or {again: milliseconds} to be asked again after
// them, with {wait: sentence} where that takes longer than a moment, or {blank: true}.
// Returns {root, refresh, inSight}: refresh asks again, as after a control of the panel was moved.
function register({ name, show, clear, ask = (payload) => call(name, payload) }) {
  const root = element.querySelector(`#panel-${name}`);
  const said = root.querySelector(".said");
  let wanted = 0; // counts what is to be shown: drawings, models, the panel's own controls
  let shown = 0; // the one that is shown
  let busy = false;
  let resting = false; // asks again when that is over
  let near = false; // on the screen, or nearly

  // Over the content, which keeps its height: the page never jumps.
  const say = (words) => {
    said.textContent = words;
    root.classList.toggle("saying", words !== "");
  };

  const inSight = () => near && root.open && !document.hidden && element.isConnected;

  const refresh = () => {
    wanted += 1;
    follow();
  };

  const rest = (milliseconds) => {
    resting = true;
    setTimeout(() => {
      resting = false;
      follow();
    }, milliseconds);
  };

  const follow = async () => {
    if (busy || shown === wanted || !inSight()) return;
    const drawing = drawn();
    const now = wanted;
    if (!drawing || !window.digitcnnModel) {
      shown = now;
      say("");
      clear();
      return;
    }
    if (resting) return;
    busy = true;
    const { answer, lineage } = pad;
    const began = performance.now();
    const reply = await ask({ model: window.digitcnnModel, ...drawing });
    busy = false;
    if (reply.again) {
      if (reply.wait) say(reply.wait);
      rest(reply.again);
    } else if (drawn() && lineage === pad.lineage) {
      // A reply to an earlier state of the drawing is news; to one that is gone it is not.
      shown = now;
      say(reply.error || "");
      if (reply.blank) clear();
      else if (!reply.error) show(reply, answer);
      // The pen goes on: half of the time is left to the pad's own answers.
      if (shown !== wanted) rest(Math.min(performance.now() - began, LONGEST_REST));
    }
    follow();
  };

  root.open = !NARROW.matches && root.dataset.open === "true";
  root.addEventListener("toggle", follow);
  document.addEventListener("visibilitychange", follow);
  new IntersectionObserver(
    (entries) => {
      near = entries[entries.length - 1].isIntersecting;
      follow();
    },
    { rootMargin: "120px" }
  ).observe(root);
  panels.push(refresh);
  clear();
  if (drawn()) refresh();
  return { root, refresh, inSight };
}

async function call(name, payload) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(reject, PATIENCE, new Error("late"));
  });
  try {
    return await Promise.race([server[name](payload), late]);
  } catch {
    return { error: SAYS_NOTHING };
  } finally {
    clearTimeout(timer);
  }
}

// The pad's own answer stands on the page by now: nothing here delays it.
window.addEventListener("digitcnn-answer", ({ detail }) => {
  if (!element.isConnected) return;
  pad.answer = detail;
  pad.lineage = detail.lineage;
  for (const refresh of panels) refresh();
});

