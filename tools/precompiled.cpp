// SPDX-License-Identifier: Apache-2.0
//
// A library must have a source; this one is there for its precompiled header.
