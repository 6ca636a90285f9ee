// What if: one slider at a time changes the drawing. Every reply brings the probabilities along all
// sliders and the pictures along the one that was touched last, so a move asks for nothing.

const root = element.querySelector("#panel-what_if");
const LEAST_NAMED = 0.1;
const picture = root.querySelector(".changed");
const verdict = root.querySelector(".verdict");
const back = root.querySelector(".back");

let reply = null; // the last one; null while nothing is drawn
let touched = null; // the place of the axis whose slider was moved, or null

const columns = [...Array(10).keys()].map((digit) => {
  const item = make("li");
  const track = make("span", "track");
  const fill = make("span", "fill");
  track.append(fill);
  item.append(track, make("span", "", String(digit)));
  root.querySelector(".columns").append(item);
  return { item, fill };
});

const axes = [...root.querySelectorAll(".axis")].map((row) => {
  const find = (selector) => row.querySelector(selector);
  return {
    row,
    chart: find("svg"),
    tag: find(".tag"),
    slider: find("input"),
    value: find(".value"),
    breaks: find(".breaks"),
    name: row.dataset.name,
    texts: JSON.parse(row.dataset.texts),
    neutral: Number(row.dataset.neutral),
  };
});

const place = (axis) => Number(axis.slider.value);
const best = (shares) => shares.indexOf(Math.max(...shares));

// ---- Charts -----------------------------------------------------------------------------------

function shape(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

const across = (axis, at) => (100 * at) / (axis.texts.length - 1);

const upright = (axis, at, name) =>
  shape("line", { class: name, x1: across(axis, at), x2: across(axis, at), y1: 0, y2: 100 });

function curve(axis, probabilities, digit, name) {
  const points = probabilities.map((row, at) => {
    return `${across(axis, at).toFixed(2)},${(100 * (1 - row[digit])).toFixed(1)}`;
  });
  return shape("polyline", { class: name, points: points.join(" ") });
}

function drawChart(axis, found, answer) {
  const floor = shape("line", { class: "floor", x1: 0, x2: 100, y1: 100, y2: 100 });
  const parts = [floor];
  if (found) {
    const { probabilities, rival, below, above } = found;
    if (below !== null) {
      const width = across(axis, below);
      parts.push(shape("rect", { class: "broken", x: 0, y: 0, width, height: 100 }));
      parts.push(upright(axis, below, "break"));
    }
    if (above !== null) {
      const x = across(axis, above);
      parts.push(shape("rect", { class: "broken", x, y: 0, width: 100 - x, height: 100 }));
      parts.push(upright(axis, above, "break"));
    }
    for (let digit = 0; digit < 10; digit += 1) {
      if (digit !== answer && digit !== rival) parts.push(curve(axis, probabilities, digit, ""));
    }
    parts.push(curve(axis, probabilities, rival, "rival"));
    parts.push(curve(axis, probabilities, answer, "answer"));
  }
  parts.push(upright(axis, place(axis), "here"));
  axis.chart.replaceChildren(...parts);
  nameRival(axis, found);
}

// The rival's digit stands where it comes nearest; one that comes nowhere near needs no name.
function nameRival(axis, found) {
  const shares = found ? found.probabilities.map((row) => row[found.rival]) : [0];
  const peak = best(shares);
  axis.tag.hidden = shares[peak] < LEAST_NAMED;
  axis.tag.textContent = found ? found.rival : "";
  axis.tag.style.left = `${Math.min(97, Math.max(3, across(axis, peak)))}%`;
  axis.tag.style.top = `${100 * (1 - shares[peak])}%`;
}

function breaksText(axis, { probabilities, below, above }) {
  const at = [below, above]
    .filter((one) => one !== null)
    .map((one) => `${axis.texts[one]} (${best(probabilities[one])})`);
  return at.length ? `breaks at ${at.join(" and ")}` : "holds";
}

// ---- What the sliders say now -----------------------------------------------------------------

function showPicture() {
  const context = picture.getContext("2d");
  if (!reply) {
    context.clearRect(0, 0, 28, 28);
    return;
  }
  const bytes = bytesOf(reply.images);
  const ours = touched === reply.axis;
  // The pictures of another axis are on their way.
  picture.classList.toggle("late", !ours);
  if (!ours) return;
  const from = touched === null ? 0 : 784 * place(axes[touched]);
  drawGrey(context, bytes.subarray(from, from + 784), 28);
}

function showProbabilities() {
  const axis = axes[touched ?? 0];
  const row = reply && reply.axes[touched ?? 0].probabilities[place(axis)];
  const now = row && best(row);
  columns.forEach(({ item, fill }, digit) => {
    fill.style.transform = `scaleY(${row ? row[digit] : 0})`;
    item.classList.toggle("best", digit === now);
    item.classList.toggle("answer", Boolean(reply) && digit === reply.answer);
  });
  verdict.textContent = "";
  if (!row) verdict.textContent = "Draw a digit, then move a slider.";
  else if (touched === null) {
    verdict.textContent = `A ${now}, ${percent(row[now])} sure. Move a slider.`;
  } else {
    const still = now === reply.answer ? "still a" : `no longer a ${reply.answer} but a`;
    verdict.textContent =
      `${axis.name} ${axis.texts[place(axis)]}: ${still} ${now}, ${percent(row[now])} sure.`;
  }
}

function showNow() {
  for (const [i, axis] of axes.entries()) {
    const text = axis.texts[place(axis)];
    axis.value.textContent = text;
    axis.slider.setAttribute("aria-valuetext", text);
    axis.row.classList.toggle("still", i !== touched);
    const line = axis.chart.querySelector(".here");
    for (const end of ["x1", "x2"]) line?.setAttribute(end, across(axis, place(axis)));
  }
  back.disabled = touched === null;
  showPicture();
  showProbabilities();
}

function showAll() {
  for (const [i, axis] of axes.entries()) {
    const found = reply && reply.axes[i];
    drawChart(axis, found, reply?.answer);
    axis.breaks.textContent = found ? breaksText(axis, found) : "";
  }
  showNow();
}

const { refresh } = register({
  name: "what_if",
  ask: (payload) => call("what_if", { ...payload, axis: touched }),
  show: (found) => {
    reply = found;
    showAll();
  },
  clear: () => {
    reply = null;
    showAll();
  },
});

function touch(i) {
  if (touched === i) return;
  touched = i;
  for (const [other, axis] of axes.entries()) if (other !== i) axis.slider.value = axis.neutral;
  refresh();
}

for (const [i, axis] of axes.entries()) {
  axis.slider.addEventListener("input", () => {
    touch(i);
    showNow();
  });
}
back.addEventListener("click", () => {
  touch(null);
  showNow();
});
