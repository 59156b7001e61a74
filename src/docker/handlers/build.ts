import { GantryError } from "#base/errors.ts";
import { type CallHandler, type Route, sendJson } from "../call.ts";

const noBuilder: CallHandler = () => {
  throw new GantryError(
    "unsupported",
    "Gantry does not build images yet: build elsewhere, then `docker load` the image.",
  );
};

const noBuildKit: CallHandler = () => {
  throw new GantryError("unsupported", "Gantry does not speak BuildKit's session protocol.");
};

export const buildRoutes: Route[] = [
  { method: "POST", pattern: "/build", handle: noBuilder },
  // There is no build cache: nothing is there to be removed.
  {
    method: "POST",
    pattern: "/build/prune",
    since: 31,
    handle: (call) => sendJson(call, 200, { CachesDeleted: null, SpaceReclaimed: 0 }),
  },
  { method: "POST", pattern: "/build/cancel", handle: noBuilder, since: 39 },
  { method: "POST", pattern: "/session", handle: noBuildKit, since: 31 },
  { method: "POST", pattern: "/grpc", handle: noBuildKit, since: 39 },
];
