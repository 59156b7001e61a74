/** An instance and, where it can be had, the peer: what the benchmarks against dockerd begin and end with. */
import { type Instance, startInstance } from "./instance.ts";
import { type BenchResult, type Row, command } from "./kit.ts";
import { type Peer, peerOrReason } from "./peer.ts";

export interface Side {
  docker(...argv: string[]): Promise<string>;
  readonly dockerHost: string;
  /** Puts a command where this side's published ports are. */
  inside(argv: readonly string[]): string[];
  /** Processes of the platform, without the containers' own. */
  pids(): Promise<number[]>;
}

export interface Sides {
  ours: Side;
  theirs?: Side;
}

/** The names of the sides that are there, ours first. */
export function present(sides: Sides): ("ours" | "theirs")[] {
  return sides.theirs === undefined ? ["ours"] : ["ours", "theirs"];
}

function ourSide(instance: Instance): Side {
  return {
    docker: instance.docker,
    dockerHost: instance.dockerHost,
    inside: (argv) => [...argv],
    pids: async () => (await instance.processes()).map((one) => one.pid),
  };
}

function theirSide(peer: Peer): Side {
  return { docker: peer.docker, dockerHost: peer.dockerHost, inside: peer.inside, pids: async () => peer.pids() };
}

/** Runs `work` with both sides up; takes them down again. */
export async function contest(
  name: string,
  work: (sides: Sides) => Promise<{ rows: Row[]; notes: string[] }>,
): Promise<BenchResult> {
  const instance = await startInstance(`bench-${name}`, { sample: false });
  const { peer, note } = await peerOrReason(instance.dockerHost);
  const { rows, notes } = await work({
    ours: ourSide(instance),
    ...(peer === undefined ? {} : { theirs: theirSide(peer) }),
  });
  await peer?.stop();
  await instance.remove();
  return { rows, notes: [note, ...notes] };
}

/** Removes containers of one side. */
export async function removeContainers(side: Side, names: readonly string[]): Promise<void> {
  if (names.length > 0) await command(["docker", "rm", "-f", ...names], { DOCKER_HOST: side.dockerHost });
}
