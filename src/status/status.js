"use strict";
let failed = 0;
async function refresh() {
  try {
    const answer = await fetch(location.pathname, { headers: { accept: "text/html" }, signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error(answer.status);
    const next = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
    if (!next) throw new Error("no status");
    document.querySelector("main").replaceWith(document.adoptNode(next));
    failed = 0;
  } catch {
    failed += 1;
  }
  document.body.classList.toggle("stale", failed > 1);
  setTimeout(refresh, 2000);
}
setTimeout(refresh, 2000);
