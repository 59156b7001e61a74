import type { Mutable, Strategy } from "../resource-type.ts";

interface CsrObject extends Mutable {
  spec?: { username?: string; uid?: string; groups?: readonly string[]; extra?: unknown };
}

/** A signing request says who made it; nobody else can (kubernetes, registry/certificates). */
export const csrStrategy: Strategy = {
  initialStatus: {},
  prepareCreate(object, { user }) {
    const csr = object as CsrObject;
    csr.spec = { ...csr.spec, username: user.username, groups: user.groups };
    if (user.uid === undefined) delete csr.spec.uid;
    else csr.spec.uid = user.uid;
    if (user.extra === undefined) delete csr.spec.extra;
    else csr.spec.extra = user.extra;
  },
  prepareUpdate(object, old) {
    object["spec"] = (old as Mutable)["spec"];
  },
};
