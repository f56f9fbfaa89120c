"""As much of tensorflow as the engine of StarDist touches; without a GPU."""

__version__ = "0.stub"


class config:
    class threading:
        @staticmethod
        def set_intra_op_parallelism_threads(threads):
            print(f"tensorflow uses {threads} threads")

    @staticmethod
    def set_visible_devices(devices, device_type=None):
        print("visible", device_type, devices)

    @staticmethod
    def get_visible_devices(device_type=None):
        return []
