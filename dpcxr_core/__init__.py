"""What training should start from when it must be differentially private: chest radiographs."""
