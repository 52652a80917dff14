"use strict";
// Each example plays its three videos as one: the generated one with sound leads, the others follow.
document.documentElement.classList.add("js");
const TOLERANCE_S = 0.06;
const clock = (seconds) => `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;

for (const example of document.querySelectorAll(".example")) {
  const videos = [...example.querySelectorAll("video")];
  const leader = example.querySelector("video[data-leader]");
  const followers = videos.filter((video) => video !== leader);
  const button = example.querySelector("button");
  const slider = example.querySelector("input");
  const output = example.querySelector("output");
  for (const video of videos) {
    video.controls = false;
    video.muted = video !== leader;
  }

  const show = () => {
    const length = leader.duration || 0;
    slider.max = length;
    slider.value = leader.currentTime;
    output.textContent = `${clock(leader.currentTime)} / ${clock(length)}`;
  };
  const align = (tolerance) => {
    for (const video of followers) {
      if (Math.abs(video.currentTime - leader.currentTime) > tolerance) {
        video.currentTime = leader.currentTime;
      }
    }
  };
  const follow = () => {
    show();
    if (leader.paused) return;
    align(TOLERANCE_S);
    requestAnimationFrame(follow);
  };
  const pauseAll = () => videos.forEach((video) => video.pause());

  button.addEventListener("click", () => {
    if (!leader.paused) return pauseAll();
    for (const other of document.querySelectorAll("video[data-leader]")) {
      if (other !== leader) other.pause();
    }
    if (leader.ended) leader.currentTime = 0;
    align(0);
    videos.forEach((video) => video.play().catch(() => {}));
  });
  leader.addEventListener("play", () => { button.textContent = "Pause"; follow(); });
  leader.addEventListener("pause", () => { button.textContent = "Play"; pauseAll(); align(0); });
  leader.addEventListener("ended", () => { button.textContent = "Play"; pauseAll(); });
  for (const event of ["loadedmetadata", "timeupdate", "seeked"]) leader.addEventListener(event, show);
  slider.addEventListener("input", () => { leader.currentTime = Number(slider.value); align(0); });
  show();
}
