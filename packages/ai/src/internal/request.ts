/**
 * A request of `effect/ai` as a request of OpenRouter.
 */
import * as Effect from "effect/Effect"
import {
  AiError,
  AnthropicStructuredOutput,
  type LanguageModel,
  OpenAiStructuredOutput,
  Tool
} from "effect/ai"
import type { ChatRequest } from "@evenkeel/openrouter"
import type { Options } from "../OpenRouterLanguageModel.ts"
import { messagesOf } from "./messages.ts"

/**
 * How schemas are written for a model. OpenRouter speaks OpenAI's dialect of strict schemas whatever the model is; those of
 * Anthropic take a dialect of their own.
 */
export const codecOf = (model: string): LanguageModel.CodecTransformer =>
  /^~?anthropic\//.test(model)
    ? AnthropicStructuredOutput.toCodecAnthropic
    : OpenAiStructuredOutput.toCodecOpenAI

/** The fields of a request that are not among the options. */
export const requestOf = (
  { prompt, responseFormat, toolChoice, tools }: LanguageModel.ProviderOptions,
  options: Options & { readonly model: string },
  transformer: LanguageModel.CodecTransformer
): Effect.Effect<ChatRequest.ChatRequest, AiError.AiErrorReason> =>
  Effect.suspend((): Effect.Effect<ChatRequest.ChatRequest, AiError.AiErrorReason> => {
    const { call: _, strictJsonSchema, ...parameters } = options
    const foreign = tools.find(Tool.isProviderDefined)
    if (foreign !== undefined) {
      const description = `${foreign.name} is defined by another provider; OpenRouter's web search is a plugin`
      return Effect.fail(new AiError.InvalidUserInputError({ description }))
    }
    const named = tools.length === 0 ? {} : { tools: tools.map(toolOf), tool_choice: choiceOf(toolChoice) }
    const request = { ...parameters, messages: messagesOf(prompt), ...named }
    if (responseFormat.type === "text") return Effect.succeed(request)
    const { objectName: name, schema } = responseFormat
    return Effect.try({
      try: () => ({
        ...request,
        response_format: {
          type: "json_schema",
          json_schema: {
            name,
            strict: strictJsonSchema ?? true,
            schema: Tool.getJsonSchemaFromSchema(schema, { transformer })
          }
        }
      }),
      catch: (error) => new AiError.UnsupportedSchemaError({ description: String(error) })
    })
  })

/** Strict only where the tool asks for it: its parameters then have to be within what the model takes. */
const toolOf = (tool: Tool.Any) => {
  const description = Tool.getDescription(tool)
  const strict = Tool.getStrictMode(tool)
  return {
    type: "function",
    function: {
      name: tool.name,
      parameters: Tool.getJsonSchema(tool),
      ...(description === undefined ? {} : { description }),
      ...(strict === undefined ? {} : { strict })
    }
  }
}

/** Of `oneOf` only the tools that it names are here. */
const choiceOf = (choice: LanguageModel.ToolChoice<string>) => {
  if (typeof choice === "string") return choice
  return "tool" in choice ? { type: "function", function: { name: choice.tool } } : (choice.mode ?? "auto")
}
