/**
 * The command with all its subcommands.
 */
import * as CliCommand from "effect/cli/Command"
import { batch } from "./commands/batch.ts"
import { explain } from "./commands/explain.ts"
import { keys } from "./commands/keys.ts"
import { simulate } from "./commands/simulate.ts"

export const evenkeel = CliCommand.make("evenkeel").pipe(
  CliCommand.withDescription(
    "Spreads LLM requests over many OpenRouter keys. Keys come from OPENROUTER_KEYS (a list), OPENROUTER_API_KEY, or OPENROUTER_KEY_1 and so on; OPENROUTER_BASE_URL names another address."
  ),
  CliCommand.withSubcommands([batch, keys, explain, simulate]),
  CliCommand.withExamples([
    { command: "evenkeel batch requests.jsonl --out answers.jsonl", description: "Many requests, resumable" },
    { command: "evenkeel keys", description: "What each key has left" },
    {
      command: "evenkeel batch requests.jsonl --out answers.jsonl --simulate",
      description: "Try it without a key"
    },
    { command: "evenkeel --completions zsh", description: "Completions for a shell" }
  ])
)
