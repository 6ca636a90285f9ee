// The panels: they follow the pad, each at its own pace.
//
// Runs once, when Gradio has put the section on the page, with these at hand:
//   element  holds the markup
//   server   the panels' functions in Python; each takes one object and answers with one
// After this come the panels' own scripts, each in a block of its own, which call register().

const PATIENCE = 15000; // milliseconds to wait for a reply
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

// The state of the pad: counts up with every answer that it shows. answer: what the pad showed
// last, {digit, probabilities, blank}.
const pad = { version: 0, answer: null };
const panels = [];

const drawn = () => {
  const drawing = window.digitcnnDrawing?.();
  return drawing && (drawing.picture || drawing.strokes.length > 0) ? drawing : null;
};

// name: the panel's element is #panel-<name>, and its function in Python is called so.
// show(reply, answer): puts a reply on the page. clear(): shows that nothing is drawn.
// ask(payload): for a panel that sends more than {model, strokes or picture}, or calls another
// function, as `(payload) => call("name", {...payload, more})`.
// Returns {root, refresh, inSight}: refresh asks again, as after a control of the panel was moved.
function register({ name, show, clear, ask = (payload) => call(name, payload) }) {
  const root = element.querySelector(`#panel-${name}`);
  const said = root.querySelector(".said");
  let wanted = 0; // counts what is to be shown: drawings, models, the panel's own controls
  let shown = 0; // the one that is shown
  let busy = false;
  let later; // the timer of a panel that was told to ask again
  let near = false; // on the screen, or nearly

  const inSight = () => near && root.open && !document.hidden && element.isConnected;

  const refresh = () => {
    wanted += 1;
    follow();
  };

  const follow = async () => {
    if (busy || shown === wanted || !inSight()) return;
    clearTimeout(later);
    const drawing = drawn();
    const now = wanted;
    if (!drawing || !window.digitcnnModel) {
      shown = now;
      said.textContent = "";
      root.classList.remove("waiting");
      clear();
      return;
    }
    busy = true;
    const { answer } = pad;
    const reply = await ask({ model: window.digitcnnModel, ...drawing });
    busy = false;
    if (reply.wait) {
      later = setTimeout(follow, reply.again);
      if (drawn()) said.textContent = reply.wait;
      root.classList.add("waiting");
      if (now === wanted) return;
    } else {
      shown = now;
      // A reply to an earlier state of the drawing is news; once the pad is empty it is not.
      if (drawn()) {
        said.textContent = reply.error || "";
        root.classList.toggle("waiting", Boolean(reply.error));
        if (reply.blank) clear();
        else if (!reply.error) show(reply, answer);
      }
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
  pad.version += 1;
  pad.answer = detail;
  for (const refresh of panels) refresh();
});

