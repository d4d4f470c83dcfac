#include "base/dmath.h"
