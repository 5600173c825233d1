// Rating by keyboard: 1 to 5 answer one question after the other; an answer that could not be kept is sent again.
import { $ } from "./dom.js";
import { json } from "./data.js";

const area = document.querySelector("main").dataset.area;
const questions = [...document.querySelectorAll("fieldset[data-question]")];
let rater = "";
let pair = null;
let busy = false;

$("who")?.addEventListener("submit", (event) => {
  event.preventDefault();
  rater = $("rater").value.trim();
  try { localStorage.setItem("rater", rater); } catch { /* private windows */ }
  $("who").hidden = true;
  $("work").hidden = false;
  next();
});
try { if ($("rater")) $("rater").value = localStorage.getItem("rater") || ""; } catch { /* private windows */ }

const post = (path, more = {}) =>
  json(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ area, rater, ...more }) });
const pairName = () => ({ image_id: pair.image_id, caption_id: pair.caption_id });

/** Do one thing at a time; tell what went wrong, and try again what must not be lost. */
async function once(work, again = false) {
  if (busy) return;
  busy = true;
  try {
    for (let turn = 1; ; turn++) {
      try { await work(); break; } catch (error) {
        if (!again || turn > 20) { $("said").textContent = `Not done: ${error.message}`; break; }
        $("said").textContent = `Not kept yet (${error.message}); trying again …`;
        await new Promise((done) => setTimeout(done, Math.min(500 * turn, 5000)));
      }
    }
  } finally { busy = false; }
}

const next = () => once(async () => show(await post("/ratings/next")));

function show(answer) {
  const { progress } = answer;
  $("bar").max = progress.all;
  $("bar").value = progress.mine;
  $("said").textContent = `You have rated ${progress.mine} of ${progress.all} pairs${progress.skipped ? `, skipped ${progress.skipped}` : ""}; all raters together ${progress.ratings}, ${progress.overlap} wanted on each pair.`;
  pair = answer.pair;
  document.querySelector(".pair").hidden = !pair;
  if (!pair) { $("said").textContent += " Nothing is left for you: thank you."; window.chorographReady = true; return; }
  $("image").src = pair.image;
  $("caption").textContent = pair.caption;
  $("answers").reset();
  for (const [name, value] of Object.entries(pair.values)) $("answers").elements[name].value = String(value);
  mark();
  window.chorographReady = true;
}

const answerOf = (question) => $("answers").elements[question.dataset.question].value;
function mark() {
  const open = questions.find((question) => !answerOf(question));
  for (const question of questions) question.classList.toggle("current", question === open);
  return open;
}

function keep() {
  const values = Object.fromEntries(questions.map((question) => [question.dataset.question, Number(answerOf(question))]));
  const name = pairName();
  once(async () => { await post("/ratings", { ...name, values }); }, true).then(next);
}

const skip = () => once(async () => { await post("/ratings/skip", pairName()); }).then(next);
const undo = () => once(async () => {
  const answer = await post("/ratings/undo");
  if (answer.pair) show(answer); else $("said").textContent = "There is nothing to undo.";
});

$("answers")?.addEventListener("change", () => { if (!mark()) keep(); });
$("skip")?.addEventListener("click", skip);
$("undo")?.addEventListener("click", undo);
document.addEventListener("keydown", (event) => {
  if ($("work")?.hidden !== false || event.ctrlKey || event.metaKey || event.altKey || !pair && event.key.toLowerCase() !== "u") return;
  const key = event.key.toLowerCase();
  if (key === "s") skip();
  else if (key === "u") undo();
  else if (/^[1-5]$/.test(key) && !busy) {
    const open = mark();
    if (!open) return;
    $("answers").elements[open.dataset.question].value = key;
    if (!mark()) keep();
  } else return;
  event.preventDefault();
});
