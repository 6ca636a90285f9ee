// Calls for the newest state of something that changes faster than calls are answered.

/**
 * Sends one call at a time: while one is on its way, changes are only counted, and the next call is for
 * all of them. No change is left without a later call, whatever a call or showing its reply does.
 * @param {{
 *   ask: () => Promise<{ busy?: boolean, show: () => void }>,
 *   pace: number,
 *   now?: () => number,
 *   wait?: (milliseconds: number) => Promise<unknown>,
 * }} options ask: calls for the present state; a reply that is `busy` delays the next call until `pace`
 *   milliseconds after this one
 */
export function createFollower({
  ask,
  pace,
  now = () => performance.now(),
  wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds)),
}) {
  let version = 0; // of the state
  let answered = 0; // the version that the last reply was for
  let earliest = 0; // no call before this moment
  /** @type {Promise<void> | null} */
  let asking = null;

  async function follow() {
    while (answered !== version) {
      const early = earliest - now();
      if (early > 0) await wait(early);
      const [asked, began] = [version, now()];
      const reply = await ask().finally(() => (answered = asked));
      if (reply.busy) earliest = began + pace;
      reply.show();
    }
  }

  function keepAsking() {
    asking ??= follow().finally(() => {
      asking = null;
      if (answered !== version) keepAsking();
    });
  }

  return {
    changed() {
      version += 1;
      keepAsking();
    },
    /** Settles when the newest state has its reply. */
    async settled() {
      while (asking) await asking;
    },
  };
}
