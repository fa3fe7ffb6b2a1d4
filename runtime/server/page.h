/* The web page: page.html, as it was when the program was built. */
#ifndef SRV_PAGE_H
#define SRV_PAGE_H

#include "runtime/base/status.h"

enum { SRV_PAGE_POLICY_BYTES = 512 };

/* Its bytes and a NUL; written by CMake. */
extern const char srv_page[];

/* The Content-Security-Policy that lets it run its own style and script, named by their SHA-256, speak
 * with this server, and do nothing else. RT_ENOMEM. */
RT_MUST_CHECK rt_status srv_page_policy(char policy[SRV_PAGE_POLICY_BYTES]);

#endif
