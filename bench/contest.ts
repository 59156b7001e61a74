/** An instance and, where they can be had, the peers: what the benchmarks against them begin and end with. */
import { type Dockerd, startDockerd } from "./dockerd.ts";
import { type Instance, startInstance } from "./instance.ts";
import { type BenchResult, type Row, command, interleaved, row } from "./kit.ts";
import { type Podman, startPodman } from "./podman.ts";

export type SideName = "ours" | "dockerd" | "podman";

export interface Side {
  readonly name: SideName;
  /** A docker command; the peer podman takes the same words. */
  docker(...argv: string[]): Promise<string>;
  /** The same, for who runs it differently. */
  command(...argv: string[]): { argv: string[]; env: Record<string, string> };
  /** Ends and removes containers at once. */
  remove(names: readonly string[]): Promise<void>;
  /** The unix socket of the Docker API. */
  readonly socket: string;
  /** Puts a command where this side's published ports are. */
  inside(argv: readonly string[]): string[];
  /** Processes of the platform, without the containers' own. */
  pids(): Promise<number[]>;
}

function dockerSide(name: SideName, dockerHost: string, more: Pick<Side, "inside" | "pids">): Side {
  const env = { DOCKER_HOST: dockerHost };
  const docker = (...words: string[]): Promise<string> => command(["docker", ...words], env);
  return {
    name,
    docker,
    command: (...words) => ({ argv: ["docker", ...words], env }),
    remove: async (names) => void (names.length > 0 && (await docker("rm", "-f", ...names))),
    socket: dockerHost.slice("unix://".length),
    ...more,
  };
}

function ourSide(instance: Instance): Side {
  return dockerSide("ours", instance.dockerHost, {
    inside: (argv) => [...argv],
    pids: async () => (await instance.processes()).map((one) => one.pid),
  });
}

function dockerdSide(peer: Dockerd): Side {
  return dockerSide("dockerd", peer.dockerHost, { inside: peer.inside, pids: async () => peer.pids() });
}

function podmanSide(peer: Podman): Side {
  const docker = (...words: string[]): Promise<string> => command(peer.argv(...words), peer.env);
  return {
    name: "podman",
    docker,
    command: (...words) => ({ argv: peer.argv(...words), env: peer.env }),
    // Else it would wait for the containers to end by themselves.
    remove: async (names) => void (names.length > 0 && (await docker("rm", "-f", "-t", "0", ...names))),
    socket: peer.socket,
    inside: peer.inside,
    pids: async () => peer.pids(),
  };
}

export type Taken = Record<SideName, number[]>;

/** Lists for the numbers of each side. */
export function noNumbers(): Taken {
  return { ours: [], dockerd: [], podman: [] };
}

/** A row of all sides' numbers. */
export function rowOf(what: string, unit: string, taken: Taken, aim?: Row["aim"]): Row {
  const peers = { dockerd: taken.dockerd, podman: taken.podman };
  return row(what, unit, taken.ours, { peers, ...(aim === undefined ? {} : { aim }) });
}

/** Times the same work on all sides, in turns. */
export async function compare(
  sides: readonly Side[],
  rounds: number,
  what: string,
  work: (side: Side) => Promise<unknown>,
  aim?: Row["aim"],
): Promise<Row> {
  const contestants = Object.fromEntries(sides.map((side) => [side.name, () => work(side)]));
  return rowOf(what, "ms", { ...noNumbers(), ...(await interleaved<SideName>(rounds, contestants)) }, aim);
}

/** A peer, or why there is none. */
async function tried<Peer>(title: string, start: () => Promise<Peer>): Promise<{ peer?: Peer; note: string }> {
  try {
    const peer = await start();
    return { peer, note: title };
  } catch (error) {
    return { note: `No ${title}: ${(error as Error).message.split("\n")[0]}` };
  }
}

/** Runs `work` with all sides up, ours first; takes them down again. */
export async function contest(
  name: string,
  work: (sides: readonly Side[]) => Promise<{ rows: Row[]; notes: string[] }>,
): Promise<BenchResult> {
  const instance = await startInstance(`bench-${name}`, { sample: false });
  const dockerd = await tried("dockerd", () => startDockerd(instance.dockerHost));
  const podman = await tried("podman", () => startPodman(instance.dockerHost));
  const sides = [ourSide(instance)];
  const notes: string[] = [];
  if (dockerd.peer === undefined) notes.push(dockerd.note);
  else sides.push(dockerdSide(dockerd.peer));
  if (podman.peer === undefined) notes.push(podman.note);
  else sides.push(podmanSide(podman.peer));
  const versions = [
    ...(dockerd.peer === undefined ? [] : [`dockerd ${dockerd.peer.version} with runc`]),
    ...(podman.peer === undefined ? [] : [`podman ${podman.peer.version} with crun, by its own command`]),
  ];
  if (versions.length > 0) notes.unshift(`Peers, Debian's: ${versions.join("; ")}.`);
  const result = await work(sides);
  await podman.peer?.stop();
  await dockerd.peer?.stop();
  await instance.remove();
  return { rows: result.rows, notes: [...notes, ...result.notes] };
}
