"use strict";
// The viewer: two images, one over the other, and a slider between them.
const viewer = document.getElementById("viewer");
const slider = document.getElementById("slider");

function move() {
  viewer.style.setProperty("--at", slider.value + "%");
}

// The pictures are in the page once more, among the images; only their addresses are copied.
function show(side) {
  const key = document.getElementById(side).value;
  for (const image of viewer.querySelectorAll("img." + side)) {
    const source = document.getElementById(key + "-" + image.dataset.plane);
    image.src = source.src;
    image.alt = source.alt;
  }
}

function drag(event) {
  const plane = event.target.closest(".plane");
  if (!plane || !(event.buttons & 1)) return;
  const box = plane.getBoundingClientRect();
  slider.value = Math.round(100 * (event.clientX - box.left) / box.width);
  move();
}

function restore() {
  show("lower");
  show("upper");
  viewer.classList.toggle("fade", document.getElementById("mode").value === "fade");
  viewer.classList.toggle("outlined", document.getElementById("outlined").checked);
  move();
}

slider.addEventListener("input", move);
for (const id of ["lower", "upper", "mode", "outlined"]) {
  document.getElementById(id).addEventListener("change", restore);
}
for (const name of ["pointerdown", "pointermove"]) {
  viewer.querySelector(".planes").addEventListener(name, drag);
}
viewer.addEventListener("dragstart", (event) => event.preventDefault());
restore(); // browsers keep what was chosen when a page is loaded again
