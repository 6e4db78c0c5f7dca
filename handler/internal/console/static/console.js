// What pages do by themselves while something is under way. Without this
// script they show the same when they are loaded again.
"use strict";

// The search for organizations: tell how far it is, and when it has ended.
const progress = document.querySelector("[data-progress]");
const asked = new URLSearchParams(location.search).get("done") === "automap";
if (progress && (asked || "running" in progress.dataset)) {
  let running = "running" in progress.dataset;
  const look = async () => {
    let state;
    try {
      const answer = await fetch(progress.dataset.progress, { headers: { Accept: "application/json" } });
      if (!answer.ok) return;
      state = await answer.json();
    } catch {
      setTimeout(look, 10000);
      return;
    }
    if (state.running) {
      running = true;
      if (progress.textContent !== state.text) progress.textContent = state.text;
    } else if (running || state.finished !== progress.dataset.finished) {
      progress.textContent = "The search has ended. ";
      const link = document.createElement("a");
      link.href = location.pathname;
      link.textContent = "Show the result";
      progress.append(link);
      return;
    }
    setTimeout(look, 2000);
  };
  setTimeout(look, 1000);
}

// The status page: renew rows and numbers while something waits or runs. A row
// that somebody is in, or has unfolded, is left alone.
const counts = document.getElementById("counts");
if (counts && "live" in counts.dataset) {
  const look = async () => {
    try {
      const answer = await fetch(location.pathname + location.search, { headers: { Accept: "text/html" } });
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      const freshCounts = fresh.getElementById("counts");
      if (!freshCounts) return;
      if (counts.innerHTML !== freshCounts.innerHTML) counts.replaceChildren(...freshCounts.childNodes);
      for (const row of document.querySelectorAll("#tenant-table tbody tr")) {
        const other = fresh.getElementById(row.id);
        if (other && row.outerHTML !== other.outerHTML && !row.contains(document.activeElement) && !row.querySelector("details[open]")) {
          row.replaceWith(other);
        }
      }
      if (!("live" in freshCounts.dataset)) return;
    } catch {
      // Tried again below.
    }
    setTimeout(look, 4000);
  };
  setTimeout(look, 2000);
}
