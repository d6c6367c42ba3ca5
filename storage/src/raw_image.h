// Raw images: sector n is at byte 512 n.
#pragma once

#include "dualvm/storage/image.h"

namespace dualvm::storage {

// `probed`: nobody said that it is raw, it only does not look like anything else. Then its guest may not make it look
// like something else either: the next time it would be opened as that, with a backing file of the guest's choice.
Expected<std::unique_ptr<Image>> open_raw(std::unique_ptr<File> file, bool writable, bool probed);
Expected<void> create_raw(File& file, const CreateOptions& options);

}  // namespace dualvm::storage
