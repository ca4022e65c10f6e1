/** Contents that can be checked by number alone: a torn or foreign one is found. Pure. */
const WORDS = ["order", "from", "the", "north", "branch", "paid", "and", "shipped", "today", "by"];

/** A few hundred to a few thousand bytes. */
export function bodyOf(number: number): string {
  const words: string[] = [];
  const count = 40 + ((number * 7919) % 400);
  for (let at = 0; at < count; at++)
    words.push(WORDS[(number * 31 + at * 17) % WORDS.length] ?? "");
  return `Subject: message ${number}\n\n${words.join(" ")}\nend of ${number}\n`;
}
