/** A daemon that the docker CLI's tests talk to. */
export interface TestDaemon {
  /** For DOCKER_HOST. */
  host: string;
  /** Requests that are being answered; undefined for a daemon of somebody else. */
  active?: () => number;
  stop(): Promise<void>;
}

/** A foreign daemon to hold the tests themselves against: DOCKER_HOST of a dockerd. */
const foreign = process.env["GANTRY_TEST_DOCKER_HOST"];

export async function startDaemon(_name: string): Promise<TestDaemon> {
  if (foreign !== undefined) return { host: foreign, stop: async () => {} };
  throw new Error("the engine is not composed yet");
}
