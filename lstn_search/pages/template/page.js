"use strict";
// Without this script everything is there but sorting, the table of all trials, and tips for fingers.

const PAGE = 100; // rows of the table of all trials that are shown at once

const words = new Intl.Collator(undefined, { numeric: true }); // t9 before t10

function ordered(rows, valueOf, direction) {
  const compare = (a, b) => (typeof a === "number" ? a - b : words.compare(a, b));
  const sorted = rows.map((row) => [valueOf(row), row]);
  sorted.sort(([a], [b]) =>
    a === null || b === null ? (a === null) - (b === null) : direction * compare(a, b)); // nothing comes last
  return sorted.map(([, row]) => row);
}

// Make a heading a button; `sort` is given 1 (ascending) or -1.
function makeSortable(th, sort) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = th.textContent;
  th.replaceChildren(button);
  button.addEventListener("click", () => {
    const first = th.classList.contains("n") ? -1 : 1; // numbers: the largest first
    const now = th.getAttribute("aria-sort");
    const direction = now === null ? first : now === "ascending" ? -1 : 1;
    for (const other of th.parentElement.children) other.removeAttribute("aria-sort");
    th.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
    sort(direction);
  });
}

function valueOfCell(cell) {
  const text = cell.dataset.value ?? cell.textContent.trim();
  if (text === "–" || text === "") return null;
  return cell.classList.contains("n") ? Number(text) : text;
}

for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  Array.from(table.tHead.rows[0].cells).forEach((th, column) =>
    makeSortable(th, (direction) =>
      body.append(...ordered(Array.from(body.rows), (row) => valueOfCell(row.cells[column]), direction)),
    ),
  );
}

function showAll(data) {
  const [table, filterBox, status, found, previous, next] =
    ["all", "words", "status", "found", "previous", "next"].map((id) => document.getElementById(id));
  const theta = data.columns.findIndex((column) => column.name === "theta");
  const formats = data.columns.map(({ digits }) =>
    digits === null ? null : new Intl.NumberFormat("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
  const texts = new Map(data.rows.map((row) => [row, row.filter((cell) => typeof cell === "string").join(" ").toLowerCase()]));
  let rows = data.rows;
  let kept = rows;
  let page = 0;

  const body = document.createElement("tbody");
  const head = document.createElement("tr");
  data.columns.forEach(({ name, digits, title }, column) => {
    const th = document.createElement("th");
    th.scope = "col";
    th.title = title;
    th.textContent = name;
    if (digits !== null) th.className = "n";
    makeSortable(th, (direction) => {
      rows = ordered(rows, (row) => (row[column] === "" ? null : row[column]), direction);
      filter();
    });
    head.append(th);
  });
  table.append(document.createElement("thead"), body);
  table.tHead.append(head);

  function draw() {
    const shown = kept.slice(page * PAGE, (page + 1) * PAGE);
    body.replaceChildren(...shown.map((row) => {
      const tr = document.createElement("tr");
      row.forEach((cell, column) => {
        const td = document.createElement("td");
        if (formats[column]) td.className = "n";
        td.textContent = cell === null ? "–" : formats[column] ? formats[column].format(cell) : cell;
        tr.append(td);
      });
      return tr;
    }));
    const first = kept.length ? page * PAGE + 1 : 0;
    const count = (number) => number.toLocaleString("en");
    found.textContent = `${count(first)} to ${count(page * PAGE + shown.length)} of ${count(kept.length)}`;
    previous.disabled = page === 0;
    next.disabled = (page + 1) * PAGE >= kept.length;
  }

  function filter() {
    const wanted = filterBox.value.toLowerCase().split(/\s+/).filter(Boolean);
    kept = rows.filter((row) =>
      (!status.value || row[theta] === status.value) && wanted.every((word) => texts.get(row).includes(word)));
    page = 0;
    draw();
  }

  for (const value of [...new Set(data.rows.map((row) => row[theta]))].sort()) status.append(new Option(value, value));
  filterBox.addEventListener("input", filter);
  status.addEventListener("change", filter);
  previous.addEventListener("click", () => { page -= 1; draw(); });
  next.addEventListener("click", () => { page += 1; draw(); });
  document.getElementById("finder").hidden = false;
  draw();
}

const all = document.getElementById("all-data");
if (all) showAll(JSON.parse(all.textContent));

// Tips: what a mouse or a finger is close to says what it is.
const REACH = 24; // CSS pixels around a mark

const tip = document.getElementById("tip");
for (const chart of document.querySelectorAll(".chart")) {
  for (const title of chart.querySelectorAll("title")) {
    title.parentElement.dataset.tip = title.textContent; // one tip, not the browser's own beside it
    title.remove();
  }
  const marks = [...chart.querySelectorAll("[data-tip]")];
  const show = (event) => {
    let nearest = null;
    let least = REACH;
    for (const mark of marks) {
      const box = mark.getBoundingClientRect();
      if (box.width === 0 && box.height === 0) continue; // of the other width
      const [x, y] = [event.clientX, event.clientY];
      const away = Math.hypot(x - Math.min(Math.max(x, box.left), box.right), y - Math.min(Math.max(y, box.top), box.bottom));
      if (away < least) [nearest, least] = [mark, away];
    }
    tip.hidden = nearest === null;
    if (nearest === null) return;
    tip.textContent = nearest.dataset.tip;
    const box = nearest.getBoundingClientRect();
    const left = Math.min(Math.max(box.right + 6, 4), document.documentElement.clientWidth - tip.offsetWidth - 4);
    tip.style.left = `${Math.max(left, 4) + scrollX}px`;
    tip.style.top = `${Math.max(box.top - tip.offsetHeight - 6, 4) + scrollY}px`;
  };
  chart.addEventListener("pointermove", show);
  chart.addEventListener("pointerdown", show);
  chart.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") tip.hidden = true; });
}

// Tables that are wider than the page say so.
const boxes = document.querySelectorAll(".scroll");
const mark = () => {
  for (const box of boxes) {
    const table = box.querySelector("table");
    if (table) box.classList.toggle("wider", table.offsetWidth > box.clientWidth + 1);
  }
};
mark();
addEventListener("resize", mark);
for (const details of document.querySelectorAll("details")) details.addEventListener("toggle", mark);
