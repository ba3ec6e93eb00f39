// SPDX-License-Identifier: Apache-2.0
// Readers for event bodies: a daemon of another version must not break the page, so a missing
// or odd field reads as its empty value.

type Body = Record<string, unknown>;

export function str(body: Body, key: string): string {
  const value = body[key];
  return typeof value === "string" ? value : "";
}

export function num(body: Body, key: string): number {
  const value = body[key];
  return typeof value === "number" && Number.isFinite(value) ? value : 0;
}

export function strOrNull(body: Body, key: string): string | null {
  const value = body[key];
  return typeof value === "string" ? value : null;
}

export function strings(body: Body, key: string): string[] {
  const value = body[key];
  return Array.isArray(value) ? value.filter((each) => typeof each === "string") : [];
}

export function object<T>(body: Body, key: string): T | null {
  const value = body[key];
  return typeof value === "object" && value !== null ? (value as T) : null;
}

export function list<T>(body: Body, key: string): T[] {
  const value = body[key];
  return Array.isArray(value) ? (value as T[]) : [];
}
