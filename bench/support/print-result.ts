/** Prints what a benchmark found as JSON, lists of numbers on one line. */
export function printResult(result: object): void {
  const text = JSON.stringify(result, null, 2);
  console.log(text.replaceAll(/\[[\s\d.,eE+-]*(?:null[\s\d.,eE+-]*)*\]/g, onOneLine));
}

function onOneLine(list: string): string {
  return list.replaceAll(/\s+/g, " ").replace("[ ", "[").replace(" ]", "]");
}
