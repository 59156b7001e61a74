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

/** Collections of a swarm, each with what may be done to one of its objects. */
const collections = ["services", "nodes", "tasks", "secrets", "configs"];

export const swarmRoutes: Route[] = [
  { method: "GET", pattern: "/swarm", handle: refuseManager },
  { method: "POST", pattern: "/swarm/init", handle: refuseSwarm },
  { method: "POST", pattern: "/swarm/join", handle: refuseSwarm },
  { method: "POST", pattern: "/swarm/leave", handle: refuseMember },
  { method: "POST", pattern: "/swarm/update", handle: refuseManager },
  { method: "GET", pattern: "/swarm/unlockkey", handle: refuseManager },
  { method: "POST", pattern: "/swarm/unlock", handle: refuseMember },
  ...collections.flatMap((name): Route[] => [
    { method: "GET", pattern: `/${name}`, handle: refuseManager },
    { method: "POST", pattern: `/${name}/create`, handle: refuseManager },
    { method: "GET", pattern: `/${name}/{id}`, handle: refuseManager },
    { method: "DELETE", pattern: `/${name}/{id}`, handle: refuseManager },
    { method: "POST", pattern: `/${name}/{id}/update`, handle: refuseManager },
    { method: "GET", pattern: `/${name}/{id}/logs`, handle: refuseManager },
  ]),
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
