/** The ring's memory is not what it should be: of another version, cut, or of another job. */
export class RingError extends Error {
  override name = "RingError";
}
