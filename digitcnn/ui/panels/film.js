// While it trains: a strip of answers, one per epoch.

const EACH = 1000; // milliseconds between two looks at a running training
const IDLE = 4; // so many times rarer without one

const run = element.querySelector("#panel-film .run");
const frames = element.querySelector("#panel-film .frames");
let key = ""; // of the training's state that is shown
let known = 0; // how many frames there are to see

const best = (probabilities) => probabilities.indexOf(Math.max(...probabilities));

// Ten bars, one per digit.
function bars(probabilities, answer) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 40 24");
  svg.setAttribute("aria-hidden", "true");
  probabilities.forEach((share, digit) => {
    const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const height = Math.max(0.8, 24 * share);
    const place = { x: 4 * digit + 0.4, y: 24 - height, width: 3.2, height };
    for (const [name, value] of Object.entries(place)) bar.setAttribute(name, value.toFixed(1));
    if (digit === answer) bar.setAttribute("class", "best");
    svg.append(bar);
  });
  return svg;
}

function frame({ epoch, probabilities }, final) {
  const item = make("li");
  const answer = best(probabilities);
  item.classList.toggle("same", answer === final);
  item.dataset.epoch = epoch;
  item.dataset.digit = answer;
  item.append(
    make("span", "epoch", `epoch ${epoch}`),
    make("span", "digit", String(answer)),
    make("span", "share", percent(probabilities[answer])),
    bars(probabilities, answer)
  );
  return item;
}

// Since when the latest answer has stood.
function story(film, final) {
  let since = film.length - 1;
  while (since > 0 && best(film[since - 1].probabilities) === final) since -= 1;
  if (since === 0 && film.length === 1) return `a ${final}`;
  // After a resume the epochs before it are not shown.
  if (since === 0 && film[0].epoch > 1) return `a ${final} in every epoch shown`;
  if (since === 0) return `a ${final} from the first epoch on`;
  return `a ${final} since epoch ${film[since].epoch}`;
}

function show({ film, run: name, epochs, key: state, frames: count }) {
  [key, known] = [state, count];
  if (film.length === 0) {
    clear();
    return;
  }
  const last = film[film.length - 1];
  const final = best(last.probabilities);
  const atEnd = frames.scrollLeft + frames.clientWidth >= frames.scrollWidth - 4;
  frames.replaceChildren(...film.map((one) => frame(one, final)));
  if (atEnd) frames.scrollLeft = frames.scrollWidth;
  run.textContent =
    `${name}, epoch ${last.epoch} of ${epochs}: ${story(film, final)} ` +
    "(probabilities before calibration).";
}

function clear() {
  frames.replaceChildren();
  run.textContent = known
    ? "Draw a digit to see how the training's opinion of it formed."
    : "Start a training to see how its opinion of your drawing forms.";
}

const panel = register({ name: "film", show, clear });

let looks = 0;
let asking = false;
let running = false;
setInterval(async () => {
  looks += 1;
  if (asking || !panel.inSight() || !(running || looks % IDLE === 0)) return;
  asking = true;
  const news = await call("film_news", {});
  asking = false;
  if (news.key === undefined) return;
  ({ running, frames: known } = news);
  if (news.key === key) return;
  ({ key } = news);
  panel.refresh();
}, EACH);
