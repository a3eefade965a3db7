/**
 * The command with what a process has: arguments, files, signals, an exit code.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Effect from "effect/Effect"
import * as Stdio from "effect/Stdio"
import { run } from "./Command.ts"
import { runMain } from "./internal/signals.ts"

Stdio.Stdio.use(({ args }) => Effect.flatMap(args, run)).pipe(Effect.provide(NodeServices.layer), runMain)
