/** A mount could not be made or used; `hint` says what to do next. */
export class MountError extends Error {
  override name = "MountError";
  readonly hint: string;

  constructor(message: string, hint: string) {
    super(message);
    this.hint = hint;
  }
}
