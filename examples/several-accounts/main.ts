// Keys of several accounts on a bad day: what each fault takes out, and what goes on. It needs no keys.
//
//   node --conditions=@evenkeel/source examples/several-accounts/main.ts
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect } from "effect"
import { live, type Scene, story } from "./story.ts"

const draw = ({ answered, keys, refusal, title }: Scene) =>
  [
    `${title}: ${answered} of 12 answered`,
    ...keys.map(({ answers, bench, id, refused }) =>
      [
        `  ${id.padEnd(14)}`,
        "█".repeat(answers).padEnd(12),
        refused === 0 ? "         " : `${refused} refused`,
        bench ?? ""
      ]
        .join("  ")
        .trimEnd()
    ),
    ...(refusal === undefined ? [] : [`  ${refusal}`]),
    ""
  ].join("\n")

const program = Effect.flatMap(
  story,
  Effect.forEach((scene) => Console.log(draw(scene)))
)

program.pipe(Effect.provide(live), NodeRuntime.runMain)
