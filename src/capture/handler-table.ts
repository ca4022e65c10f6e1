/** All requests that the engine serves, by opcode. */
import { Opcode } from "../fuse/abi.ts";
import { answerInit } from "../fuse/init.ts";
import type { Handler, Handlers } from "../fuse/session.ts";
import { EPROTO } from "../platform/errno.ts";
import { attributeHandlers } from "./handlers/attributes.ts";
import { createHandlers } from "./handlers/create.ts";
import { dataHandlers } from "./handlers/data.ts";
import { directoryHandlers } from "./handlers/directory.ts";
import { ioctlHandlers } from "./handlers/ioctl.ts";
import { lookupHandlers } from "./handlers/lookup.ts";
import { removeHandlers } from "./handlers/remove.ts";
import { xattrHandlers } from "./handlers/xattr.ts";
import type { WorkerContext } from "./worker-context.ts";

export function handlersOf(context: WorkerContext): Handlers {
  const init: Handler = (request, reply) => {
    const agreed = answerInit(request, reply);
    if (agreed === undefined) return -EPROTO;
    context.beneath.nodes.canHold = agreed.passthrough;
    return 0;
  };
  return new Map<number, Handler>([
    [Opcode.init, init],
    [Opcode.destroy, () => 0],
    ...lookupHandlers(context),
    ...attributeHandlers(context),
    ...createHandlers(context),
    ...removeHandlers(context),
    ...dataHandlers(context),
    ...xattrHandlers(context),
    ...directoryHandlers(context),
    ...ioctlHandlers(context),
  ]);
}
