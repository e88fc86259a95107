// Served by `speechbench leaderboard serve`, the page looks whether the runs have changed; from a file it never asks.

const EVERY = 5000;

function startLive() {
  if (!location.protocol.startsWith("http")) return;
  let known = null;
  const look = async () => {
    try {
      const answer = await fetch("./version", { cache: "no-store" });
      if (!answer.ok) return; // served by something else: there is nothing to wait for
      const version = await answer.text();
      if (known !== null && version !== known) {
        keep();
        location.reload();
        return;
      }
      known = version;
    } catch {
      // the server is away for now
    }
    setTimeout(look, EVERY);
  };
  setTimeout(look, 200);
}
