// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "daemon/http/router.hpp"

namespace volary::app {

/// The embedded web page. A path that is no file is a place within the page and gets its index.
http::StaticFiles page_files();

}  // namespace volary::app
