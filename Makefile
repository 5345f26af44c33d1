# make demo: set up, generate a small category, run the full setting once with both scorings
# make test: set up, run the whole test suite
PYTHON ?= python3
VENV := .venv
DEMO := demo

.PHONY: demo test clean

$(VENV)/installed: requirements.txt requirements-dev.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

demo: $(VENV)/installed
	$(VENV)/bin/python tools/make_demo.py $(DEMO)
	$(VENV)/bin/python main.py --method_name DINO+Point_MAE+Fusion --use_uff --memory_bank multiple \
	  --rgb_backbone_name vit_base_patch8_224_dino --xyz_backbone_name Point_MAE \
	  --fusion_module_path $(DEMO)/checkpoints/uff_pretrain.pth --checkpoint_dir $(DEMO)/checkpoints \
	  --dataset_path $(DEMO)/data --category cookie --output_dir $(DEMO)/results --save_preds --scoring disagreement
	@echo "Pictures, scores and run.json are under $(DEMO)/results. The weights are untrained stand-ins: these scores say nothing about M3DM."

test: $(VENV)/installed
	$(VENV)/bin/python -m pytest

clean:
	rm -rf $(VENV) $(DEMO)
