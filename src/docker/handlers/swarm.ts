import { GantryError } from "#base/errors.ts";
import { type Call, type CallHandler, type Route, sendJson } from "../call.ts";

/** docker's answer to swarm's questions on a node that is in no swarm. */
export function notSwarmManager(): GantryError {
  return new GantryError(
    "unavailable",
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.',
  );
}

const refuseManager: CallHandler = () => {
  throw notSwarmManager();
};

const refuseMember: CallHandler = () => {
  throw new GantryError("unavailable", "This node is not part of a swarm");
};

const refuseSwarm: CallHandler = () => {
  throw new GantryError(
    "unsupported",
    "Gantry has no swarm mode. Its clusters are Kubernetes': see kubectl and `gantry join`.",
  );
};

const refusePlugins: CallHandler = () => {
  throw new GantryError("unsupported", "Gantry has no engine plugins.");
};

function noPlugin(call: Call): void {
  throw new GantryError("not-found", `plugin ${JSON.stringify(call.params["name"])} not found`);
}

/** What may be done in a swarm's collections: create, update and remove their objects, read logs of them. */
const collections: Record<string, readonly ("create" | "update" | "remove" | "logs")[]> = {
  services: ["create", "update", "remove", "logs"],
  nodes: ["update", "remove"],
  tasks: ["logs"],
  secrets: ["create", "update", "remove"],
  configs: ["create", "update", "remove"],
};

const collectionRoutes = Object.entries(collections).flatMap(([name, verbs]): Route[] => {
  const patterns = {
    create: ["POST", `/${name}/create`],
    update: ["POST", `/${name}/{id}/update`],
    remove: ["DELETE", `/${name}/{id}`],
    logs: ["GET", `/${name}/{id}/logs`],
  } as const;
  return [["GET", `/${name}`] as const, ["GET", `/${name}/{id}`] as const, ...verbs.map((verb) => patterns[verb])].map(
    ([method, pattern]) => ({ method, pattern, handle: refuseManager }),
  );
});

export const swarmRoutes: Route[] = [
  { method: "GET", pattern: "/swarm", handle: refuseManager },
  { method: "POST", pattern: "/swarm/init", handle: refuseSwarm },
  { method: "POST", pattern: "/swarm/join", handle: refuseSwarm },
  { method: "POST", pattern: "/swarm/leave", handle: refuseMember },
  { method: "POST", pattern: "/swarm/update", handle: refuseManager },
  { method: "GET", pattern: "/swarm/unlockkey", handle: refuseManager },
  { method: "POST", pattern: "/swarm/unlock", handle: refuseMember },
  ...collectionRoutes,
  { method: "GET", pattern: "/plugins", handle: (call) => sendJson(call, 200, []) },
  { method: "GET", pattern: "/plugins/privileges", handle: refusePlugins },
  { method: "POST", pattern: "/plugins/pull", handle: refusePlugins },
  { method: "POST", pattern: "/plugins/create", handle: refusePlugins },
  { method: "GET", pattern: "/plugins/{name...}/json", handle: noPlugin },
  { method: "DELETE", pattern: "/plugins/{name...}", handle: noPlugin },
  { method: "POST", pattern: "/plugins/{name...}/enable", handle: noPlugin },
  { method: "POST", pattern: "/plugins/{name...}/disable", handle: noPlugin },
  { method: "POST", pattern: "/plugins/{name...}/push", handle: noPlugin },
  { method: "POST", pattern: "/plugins/{name...}/set", handle: noPlugin },
  { method: "POST", pattern: "/plugins/{name...}/upgrade", handle: noPlugin },
];
