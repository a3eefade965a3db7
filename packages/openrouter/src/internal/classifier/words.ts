/**
 * Codes in words, and the statuses that stand for them: OpenRouter's own error types, and those of the skins that speak
 * like Anthropic (`/messages`) and OpenAI (`/responses`). A stream has nothing else to tell its failure by.
 */
const words: Readonly<Record<number, string>> = {
  400: "invalid_request invalid_request_error invalid_prompt context_length_exceeded max_tokens_exceeded token_limit_exceeded string_too_long invalid_image image_too_large image_too_small unsupported_image_format image_download_failed",
  401: "authentication authentication_error",
  // OpenAI's word for an empty purse, whatever the status it comes with there.
  402: "payment_required billing_error insufficient_quota",
  403: "permission_denied permission_error content_policy_violation refusal",
  404: "not_found not_found_error model_not_found image_not_found",
  412: "precondition_failed",
  413: "payload_too_large request_too_large",
  422: "unprocessable",
  429: "rate_limit_exceeded rate_limit_error",
  500: "server api_error internal_error unmapped",
  // What most streams say when a provider goes away.
  502: "server_error provider_unavailable",
  503: "provider_overloaded",
  504: "timeout timeout_error",
  529: "overloaded_error"
}

const statuses = new Map(
  Object.entries(words).flatMap(([status, list]) =>
    list.split(" ").map((word) => [word, Number(status)] as const)
  )
)

export const statusOfWord = (word: string | number): number | undefined =>
  typeof word === "string" ? statuses.get(word) : undefined
