// Served by `speechbench leaderboard serve`, the page looks whether the runs have changed; from a file it never asks.

const EVERY = 5000;
let typed = -Infinity; // when something was typed or chosen last

function startLive() {
  if (!location.protocol.startsWith("http")) return;
  addEventListener("input", () => (typed = performance.now()));
  let known = null;
  const look = async () => {
    try {
      const answer = await fetch("./version", { cache: "no-store" });
      if (!answer.ok) return; // served by something else: there is nothing to wait for
      const version = await answer.text();
      known ??= version;
      if (version !== known && !isBusy()) {
        keep();
        location.reload();
        return;
      }
    } catch {
      // the server is away for now
    }
    setTimeout(look, EVERY);
  };
  setTimeout(look, 200);
}

/** Whether the reader is in the middle of something that would be lost: then the news wait. */
function isBusy() {
  const playing = [...document.querySelectorAll("audio")].some((player) => !player.paused && !player.ended);
  return playing || byId("cell").open || performance.now() - typed < EVERY;
}
